"""Report -> JSON, CSV, figures and one page, and to dashboards."""

"""NEW FRAMES -> LABELS, BOXES, LANDMARKS: what predict.py does, in px of the frames as they came."""

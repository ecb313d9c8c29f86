"""How good a judge is: gold answers, attacks, calibration, agreement."""

"""A judge's exam measures how good it is, by gold answers, attacks, calibration and agreement with other judges."""

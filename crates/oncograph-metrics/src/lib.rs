//! Statistics for clinical prediction in f64: survival, classification, regression, calibration, bootstrap.

//! Oriented medical volumes: NIfTI, DICOM series and DICOM SEG in and out, resampling, CLAHE, morphology.

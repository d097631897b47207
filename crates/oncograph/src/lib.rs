//! Learning on medical images, omics and clinical records as graphs.

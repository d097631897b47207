//! STG: spatio-temporal graph network for the prognosis of colorectal liver metastases.

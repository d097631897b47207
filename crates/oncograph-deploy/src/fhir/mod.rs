//! Exchange with hospital systems in FHIR R4: a patient's values out of a bundle, and a model's predictions for the
//! patient as a `RiskAssessment`.
//!
//! Nothing is sent anywhere: documents are read from text and written to files, and a person decides what enters a record.
//! Only the elements that are used are read; a bundle is not validated against its profile.
//!
//! # Reference
//! HL7 FHIR R4 (4.0.1): Bundle, Patient, Observation, Condition, MedicationStatement, MedicationRequest,
//! MedicationAdministration, MedicationDispense, RiskAssessment; UCUM.

mod bundle;
mod code_map;
mod moment;
mod resource;
mod risk;
mod units;

pub use bundle::{Bound, Converted, FhirPatient, LeftOut, Measured, read_bundle};
pub use code_map::{CodeMap, Coded};
pub use risk::{
    CodeableConcept, Note, Quantity, Reference, RiskAssessment, RiskPrediction, WhenRange, append_audit,
};
pub use units::convert;

//! One resource of a bundle, as far as it is read.

use crate::error::{Error, Result};
use serde_json::Value;

pub(super) const BUNDLE: &str = "FHIR bundle";

/// Resources of which values are taken.
const READ: [&str; 6] = [
    "Observation",
    "Condition",
    "MedicationStatement",
    "MedicationRequest",
    "MedicationAdministration",
    "MedicationDispense",
];

/// Codes with their systems.
pub(super) type Codings = Vec<(String, String)>;

pub(super) struct Resource<'a> {
    pub kind: &'a str,
    /// Its identifier; without one what `fullUrl` ends in.
    id: Option<&'a str>,
    url: Option<&'a str>,
    number: usize,
    pub body: &'a Value,
}

impl<'a> Resource<'a> {
    /// The resource of an entry; `None` for an entry without one, as requests to delete are.
    pub fn of(entry: &'a Value, number: usize) -> Result<Option<Self>> {
        let Some(body) = entry.get("resource") else { return Ok(None) };
        let kind = body["resourceType"].as_str().ok_or_else(|| {
            Error::document(BUNDLE, format!("entry[{number}].resource.resourceType"), "expected a text")
        })?;
        let (id, url) = (body["id"].as_str(), entry["fullUrl"].as_str());
        let tail = url.and_then(|url| url.rsplit(['/', ':']).next());
        Ok(Some(Resource { kind, id: id.or(tail).filter(|id| !id.is_empty()), url, number, body }))
    }

    /// Whether values are taken of such resources.
    pub fn is_read(&self) -> bool {
        READ.contains(&self.kind)
    }

    /// Its identifier.
    ///
    /// # Errors
    /// [`Error::Document`] where neither the resource nor its entry has one.
    pub fn required_id(&self) -> Result<&'a str> {
        self.id.ok_or_else(|| {
            let detail = "expected an identifier, or a fullUrl of the entry";
            Error::document(BUNDLE, format!("entry[{}].resource.id", self.number), detail)
        })
    }

    /// What others call it: its type and identifier, else its place in the bundle.
    pub fn source(&self) -> String {
        match self.id {
            Some(id) => format!("{}/{id}", self.kind),
            None => format!("entry[{}]", self.number),
        }
    }

    /// Whether a reference means this resource: by the entry's `fullUrl`, else by type and identifier, whatever server or version
    /// stands around them.
    pub fn is_meant_by(&self, reference: &str) -> bool {
        let reference = reference.split("/_history/").next().unwrap_or_default();
        let url = self.url.map(|url| url.split("/_history/").next().unwrap_or_default());
        if url == Some(reference) {
            return true;
        }
        let is_absolute = |text: &str| text.starts_with("http://") || text.starts_with("https://");
        if is_absolute(reference) && url.is_some_and(is_absolute) {
            // The same identifier on two servers is of two resources.
            return false;
        }
        let mut parts = reference.rsplit('/');
        parts.next() == self.id && parts.next() == Some(self.kind)
    }

    /// What it is about.
    pub fn subject(&self) -> &'a str {
        let reference = |field: &str| self.body[field]["reference"].as_str();
        reference("subject").or_else(|| reference("patient")).unwrap_or_default()
    }

    /// Its codes; a medication may be a resource of its own, in the bundle or within this one.
    pub fn codings(&self, all: &[Resource<'_>]) -> Codings {
        if !self.kind.starts_with("Medication") {
            return codings(&self.body["code"]);
        }
        let own = codings(&self.body["medicationCodeableConcept"]);
        let reference = self.body["medicationReference"]["reference"].as_str();
        match reference {
            Some(reference) if own.is_empty() => match reference.strip_prefix('#') {
                Some(id) => {
                    let contained = self.body["contained"].as_array().map_or(&[][..], Vec::as_slice);
                    contained.iter().find(|c| c["id"] == id).map(|c| codings(&c["code"])).unwrap_or_default()
                }
                None => {
                    let meant = all.iter().find(|r| r.kind == "Medication" && r.is_meant_by(reference));
                    meant.map(|r| codings(&r.body["code"])).unwrap_or_default()
                }
            },
            _ => own,
        }
    }

    /// Why the resource has no usable value, if so.
    pub fn void(&self) -> Option<String> {
        let code = |field: &str| self.body[field]["coding"][0]["code"].as_str().unwrap_or_default();
        let status = self.body["status"].as_str().unwrap_or_default();
        if self.body["doNotPerform"] == true {
            return Some("doNotPerform is true".into());
        }
        let (field, value, good): (_, _, &[&str]) = match self.kind {
            "Observation" => ("status", status, &["final", "amended", "corrected"]),
            "MedicationStatement" => ("status", status, &["active", "completed", "intended", "on-hold"]),
            "MedicationRequest" => ("status", status, &["active", "completed", "on-hold"]),
            "MedicationAdministration" | "MedicationDispense" => {
                ("status", status, &["in-progress", "completed", "on-hold"])
            }
            _ => match code("verificationStatus") {
                bad @ ("refuted" | "entered-in-error") => ("verificationStatus", bad, &[]),
                _ => ("clinicalStatus", code("clinicalStatus"), &["active", "recurrence", "relapse"]),
            },
        };
        (!good.contains(&value)).then(|| format!("{field} is {value:?}"))
    }

    pub fn when(&self) -> Option<&'a str> {
        let fields = [
            "effectiveDateTime",
            "effectiveInstant",
            "issued",
            "onsetDateTime",
            "recordedDate",
            "dateAsserted",
            "authoredOn",
            "whenHandedOver",
            "whenPrepared",
        ];
        let periods = ["effectivePeriod", "onsetPeriod"];
        let period = periods.iter().find_map(|f| self.body[*f]["start"].as_str());
        fields.iter().find_map(|f| self.body[*f].as_str()).or(period)
    }
}

/// The codings of a concept.
pub(super) fn codings(concept: &Value) -> Codings {
    let all = concept["coding"].as_array().map_or(&[][..], Vec::as_slice);
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    all.iter().map(|c| (text(&c["system"]), text(&c["code"]))).collect()
}

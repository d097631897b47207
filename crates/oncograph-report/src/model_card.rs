use crate::table::{Cell, ReportTable};
use serde::{Deserialize, Serialize};

/// What a reader must know to judge a prediction model, field by field.
///
/// A field that is not set is printed as "not stated", so that gaps show.
///
/// # Example
/// ```
/// use oncograph_report::ModelCard;
/// let card = ModelCard::new("STG", "Research on survival after resection of colorectal liver metastases")
///     .data("197 patients, one centre")
///     .outcome("Overall survival: months from resection to death of any cause");
/// assert!(card.to_table().to_text().contains("not stated"));
/// ```
///
/// # Reference
/// The fields follow the items of TRIPOD+AI (Collins et al., BMJ 2024) that describe a model; it is not the
/// whole checklist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct ModelCard {
    name: String,
    intended_use: String,
    #[serde(default)]
    version: Option<String>,
    #[serde(default)]
    data: Option<String>,
    #[serde(default)]
    participants: Option<String>,
    #[serde(default)]
    outcome: Option<String>,
    #[serde(default)]
    predictors: Option<String>,
    #[serde(default)]
    sample_size: Option<String>,
    #[serde(default)]
    missing_data: Option<String>,
    #[serde(default)]
    method: Option<String>,
    #[serde(default)]
    validation: Option<String>,
    #[serde(default)]
    performance: Option<String>,
    #[serde(default)]
    fairness: Option<String>,
    #[serde(default)]
    limitations: Option<String>,
    #[serde(default)]
    availability: Option<String>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident),* $(,)?) => {
        $($(#[$doc])* pub fn $field(mut self, text: impl Into<String>) -> Self {
            self.$field = Some(text.into());
            self
        })*
    };
}

impl ModelCard {
    /// A card with the model's name and what it is meant for.
    pub fn new(name: impl Into<String>, intended_use: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            intended_use: intended_use.into(),
            version: None,
            data: None,
            participants: None,
            outcome: None,
            predictors: None,
            sample_size: None,
            missing_data: None,
            method: None,
            validation: None,
            performance: None,
            fairness: None,
            limitations: None,
            availability: None,
        }
    }

    setters! {
        /// Sets the version of the model and of the code that trained it.
        version,
        /// Sets the source of the data, and whether they are real or simulated.
        data,
        /// Sets who was included and excluded, where and when.
        participants,
        /// Sets the outcome, how it was measured, and the time horizon.
        outcome,
        /// Sets the predictors and when they are measured.
        predictors,
        /// Sets the number of patients and events in each part of the data.
        sample_size,
        /// Sets how missing values were handled.
        missing_data,
        /// Sets the kind of model, its tuning and its training.
        method,
        /// Sets how performance was estimated: split, cross-validation, external data.
        validation,
        /// Sets discrimination and calibration with their intervals.
        performance,
        /// Sets how the model does in groups of patients.
        fairness,
        /// Sets what is known to be wrong or untested.
        limitations,
        /// Sets where code, weights and data can be had.
        availability,
    }

    /// The model's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Discrimination and calibration, where they are stated.
    pub fn stated_performance(&self) -> Option<&str> {
        self.performance.as_deref()
    }

    /// The card as a table of two columns; the status row always states that it is for research only.
    pub fn to_table(&self) -> ReportTable {
        let status = "For research only. Not a medical device.";
        let set = [("Status", status), ("Intended use", &self.intended_use)];
        let table = ReportTable::new(format!("Model card of {}", self.name), ["Item", "Description"]);
        let table = set.into_iter().fold(table, |table, (item, text)| table.row([item, text]));
        let optional = [
            ("Version", &self.version),
            ("Data", &self.data),
            ("Participants", &self.participants),
            ("Outcome", &self.outcome),
            ("Predictors", &self.predictors),
            ("Sample size", &self.sample_size),
            ("Missing data", &self.missing_data),
            ("Method", &self.method),
            ("Validation", &self.validation),
            ("Performance", &self.performance),
            ("Fairness", &self.fairness),
            ("Limitations", &self.limitations),
            ("Availability", &self.availability),
        ];
        let cell = |text: &Option<String>| text.as_ref().map_or(Cell::missing("not stated"), Cell::text);
        optional.iter().fold(table, |table, (item, text)| table.row([Cell::text(*item), cell(text)]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_printed_and_gaps_show() {
        let card = ModelCard::new("m", "use").limitations("one centre");
        let text = card.to_table().to_text();
        assert_eq!(card.to_table().len(), 15);
        assert_eq!(text.matches("n/a (not stated)").count(), 12);
        assert!(text.contains("Not a medical device.") && text.contains("one centre"), "{text}");
    }
}

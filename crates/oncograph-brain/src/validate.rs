//! Whether the settings of the system are in their ranges and its parts take what the parts before them give.

use crate::pipeline::GliomaSource;
use crate::presets::GliomaConfig;
use crate::{Error, Result};
use oncograph_train::FitConfig;

impl GliomaConfig {
    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "GliomaConfig";
        if let GliomaSource::Phantom(phantom) = &self.source {
            phantom.validate()?;
        }
        self.autoencoder.validate()?;
        self.tracts.validate()?;
        self.model.validate()?;
        self.model.image.validate()?;
        self.model.geometry.validate()?;
        self.model.network.validate()?;
        self.graph.validate()?;
        self.classifier.validate()?;
        self.svm.validate()?;
        for fit in self.fits() {
            fit.validate()?;
        }
        let shares = &self.split;
        if shares.iter().any(|s| s.is_nan() || *s <= 0.0) || (shares.iter().sum::<f64>() - 1.0).abs() > 1e-9 {
            return Err(Error::config(NAME, "split", "shares above 0 with sum 1", format!("{shares:?}")));
        }
        if !(0.0..1.0).contains(&self.validation) {
            return Err(Error::config(NAME, "validation", "in [0, 1)", self.validation));
        }
        if !(0.0..=1.0).contains(&self.threshold) {
            return Err(Error::config(NAME, "threshold", "in [0, 1]", self.threshold));
        }
        if !(0.0..=180.0).contains(&self.model_training.rotation) {
            let got = self.model_training.rotation;
            return Err(Error::config(NAME, "model_training.rotation", "in [0, 180] degrees", got));
        }
        if !(self.prepare.incidence_threshold > 0.0 && self.prepare.incidence_threshold <= 1.0) {
            let got = self.prepare.incidence_threshold;
            return Err(Error::config(NAME, "prepare.incidence_threshold", "above 0 and at most 1", got));
        }
        for (field, value, least) in [
            ("prepare.values", self.prepare.values, 1),
            ("prepare.crop", self.prepare.crop, 1),
            ("prepare.points", self.prepare.points, 1),
            ("mlp", self.mlp, 1),
            ("autoencoder_fit.batch", self.autoencoder_fit.batch, 1),
            ("tracts_fit.batch", self.tracts_fit.batch, 2),
            ("model_training.batch", self.model_training.batch, 2),
            ("model_training.micro_batch", self.model_training.micro_batch.unwrap_or(1), 1),
            ("classifier_training.batch", self.classifier_training.batch.unwrap_or(1), 1),
        ] {
            if value < least {
                return Err(Error::config(NAME, field, format!("at least {least}"), value));
            }
        }
        self.parts_fit()
    }

    /// The training of every stage.
    fn fits(&self) -> [&FitConfig; 5] {
        let Self { autoencoder_fit, tracts_fit, model_fit, classifier_fit, mlp_fit, .. } = self;
        [&autoencoder_fit.fit, &tracts_fit.fit, model_fit, classifier_fit, mlp_fit]
    }

    /// Whether each part takes what the part before it gives.
    fn parts_fit(&self) -> Result<()> {
        const NAME: &str = "GliomaConfig";
        let (values, model) = (self.prepare.values, &self.model);
        let ends = |widths: &[usize]| (widths.first().copied(), widths.last().copied());
        let width = self.autoencoder.widths.last().copied();
        for (field, widths, input) in [
            ("autoencoder.widths", &self.autoencoder.widths, 4 * values),
            ("tracts.mri", &self.tracts.mri, 4 * values),
            ("tracts.fa", &self.tracts.fa, values),
        ] {
            if ends(widths) != (Some(input), width) {
                let expected = format!(
                    "from {input}, which is what prepare.values = {values} gives, to {}, where autoencoder.widths end",
                    width.unwrap_or(0)
                );
                return Err(Error::config(NAME, field, expected, format!("{widths:?}")));
            }
        }
        if model.encoders.image && (model.image.in_channels, model.image.size) != (4, [self.prepare.crop; 3])
        {
            let expected =
                format!("4 channels of {0} x {0} x {0} voxels, as prepare.crop gives", self.prepare.crop);
            let got = format!("{} of {:?}", model.image.in_channels, model.image.size);
            return Err(Error::config(NAME, "model.image", expected, got));
        }
        if model.encoders.network && [Some(model.network.nodes), Some(model.network.edges)] != [width; 2] {
            let expected =
                format!("{} for nodes and edges, where autoencoder.widths end", width.unwrap_or(0));
            let got = format!("{} and {}", model.network.nodes, model.network.edges);
            return Err(Error::config(NAME, "model.network", expected, got));
        }
        for vector in [self.population.0, self.population.1] {
            if !vector.is_of(&model.encoders) {
                let expected = "vectors of encoders that the model has (`both` is all of them)";
                return Err(Error::config(NAME, "population", expected, format!("{vector:?}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EmbeddingVector, Encoders, GliomaPreset, NetworkPatients};
    use oncograph_datasets::glioma::GliomaPhantomConfig;

    fn config() -> GliomaConfig {
        let source = GliomaSource::Phantom(GliomaPhantomConfig::new(60, 1));
        GliomaConfig::preset(GliomaPreset::Quick, source, 1)
    }

    #[test]
    fn every_preset_fits_together() {
        for preset in [GliomaPreset::Paper, GliomaPreset::Robust, GliomaPreset::Quick] {
            let phantom = GliomaPhantomConfig::new(60, 1);
            let config = GliomaConfig::preset(preset, GliomaSource::Phantom(phantom.clone()), 1);
            config.validate().unwrap();
            assert_eq!(config.network_patients, NetworkPatients::Unlabelled);
            let none = GliomaSource::Phantom(GliomaPhantomConfig { unlabelled: 0, ..phantom });
            let literal = preset == GliomaPreset::Paper;
            let both = NetworkPatients::UnlabelledAndHalfA;
            let expected = if literal { NetworkPatients::Unlabelled } else { both };
            assert_eq!(GliomaConfig::preset(preset, none, 1).network_patients, expected);
        }
    }

    /// What would else end a run after hours of training.
    #[test]
    fn what_does_not_fit_is_named_before_anything_is_trained() {
        type Edit = fn(&mut GliomaConfig);
        let edits: [(Edit, &str); 12] = [
            (|c| c.prepare.crop = 16, "model.image must be 4 channels of 16 x 16 x 16"),
            (|c| c.prepare.values = 33, "autoencoder.widths must be from 132"),
            (|c| c.tracts.fa[0] = 31, "tracts.fa must be from 32"),
            (|c| c.model.network.nodes = 8, "model.network must be 16"),
            (|c| c.model.image.channels = vec![4; 5], "ImageEncoder: size"),
            (|c| c.model_training.rotation = f64::NAN, "model_training.rotation"),
            (|c| c.model_training.batch = 1, "model_training.batch must be at least 2"),
            (|c| c.split = [0.5, 0.5, 0.0], "split must be shares above 0"),
            (|c| c.mlp_fit.epochs = 0, "epochs"),
            (|c| c.graph.threshold = 2.0, "threshold"),
            (|c| c.prepare.incidence_threshold = 0.0, "prepare.incidence_threshold"),
            (|c| c.classifier.dropout = 1.0, "dropout"),
        ];
        for (edit, expected) in edits {
            let mut config = config();
            edit(&mut config);
            let error = config.validate().unwrap_err().to_string();
            assert!(error.contains(expected), "{error}");
        }
        let mut two = config();
        two.model = two.model.encoders(Encoders { image: true, surface: true, network: false });
        assert!(two.validate().unwrap_err().to_string().contains("population"));
        two.population = (EmbeddingVector::Both, EmbeddingVector::Tumour);
        two.validate().unwrap();
    }
}

//! The model file as it is written, and its way to a checked [`Model`].

use std::io::Read;
use std::path::Path;

use serde::Deserialize;

use super::feature::{Feature, Features, Offered};
use super::{Clock, Model, ModelError, Problem, Signature, Vendor, needs, shipped};

/// The most bytes of a model file.
const LARGEST_FILE: u64 = 1 << 20;

/// A file whose keys are all known and of the right type; whether they are all there is checked later.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct File {
    base: Option<String>,
    name: Option<String>,
    description: Option<String>,
    vendor: Option<String>,
    brand: Option<String>,
    features: Option<Vec<String>>,
    #[serde(default)]
    add_features: Vec<String>,
    #[serde(default)]
    remove_features: Vec<String>,
    #[serde(default)]
    signature: SignatureSection,
    #[serde(default)]
    address_widths: AddressWidths,
    clock: Option<ClockSection>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct SignatureSection {
    family: Option<u64>,
    model: Option<u64>,
    stepping: Option<u64>,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct AddressWidths {
    physical: Option<u64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
struct ClockSection {
    core_crystal_hz: Option<u64>,
    tsc_hz: Option<u64>,
}

pub(super) fn select(name_or_path: &str) -> Result<Model, ModelError> {
    let path = Path::new(name_or_path);
    if path.extension().is_some_and(|extension| extension == "toml") {
        return read(&content(path)?, name_or_path);
    }
    match shipped::text(name_or_path) {
        Some(text) => read(text, &format!("{name_or_path}.toml")),
        None => Err(ModelError::Unknown { name: name_or_path.to_owned(), known: shipped::names().collect() }),
    }
}

fn content(path: &Path) -> Result<String, ModelError> {
    let refused = |reason| ModelError::Read { file: path.to_owned(), reason };
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(refused)?;
    file.take(LARGEST_FILE + 1).read_to_string(&mut text).map_err(refused)?;
    if text.len() as u64 > LARGEST_FILE {
        let reason = format!("larger than the {LARGEST_FILE} bytes that a model file may have");
        return Err(refused(std::io::Error::new(std::io::ErrorKind::FileTooLarge, reason)));
    }
    Ok(text)
}

pub(super) fn read(text: &str, file: &str) -> Result<Model, ModelError> {
    let written: File = toml::from_str(text).map_err(|error| shape(text, file, &error))?;
    Checker { file }.model(written)
}

fn shape(text: &str, file: &str, error: &toml::de::Error) -> ModelError {
    let offset = error.span().map_or(0, |span| span.start);
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    ModelError::Shape {
        file: file.to_owned(),
        line: before.matches('\n').count() + 1,
        column: before[line_start..].chars().count() + 1,
        reason: error.message().to_owned(),
    }
}

/// Makes errors that name the file.
struct Checker<'a> {
    file: &'a str,
}

impl Checker<'_> {
    fn model(&self, file: File) -> Result<Model, ModelError> {
        let base = file.base.as_deref().map(|name| self.base(name)).transpose()?;
        let base = base.as_ref();
        Ok(Model {
            features: self.features(&file, base)?,
            name: self.text("name", file.name)?,
            description: self.text("description", file.description)?,
            vendor: self.vendor(file.vendor.as_deref(), base)?,
            brand: self.brand(file.brand, base)?,
            signature: self.signature(&file.signature, base)?,
            physical_address_width: self.physical(&file.address_widths, base)?,
            clock: match &file.clock {
                Some(section) => Some(self.clock(section)?),
                None => base.and_then(|base| base.clock),
            },
        })
    }

    /// The model that the file builds on: only one of the program, so that a chain of bases ends.
    fn base(&self, name: &str) -> Result<Model, ModelError> {
        match shipped::text(name) {
            Some(text) => read(text, &format!("{name}.toml")),
            None => Err(self.error("base", name, Problem::NotABase(shipped::names().collect()))),
        }
    }

    fn error(&self, key: &'static str, value: impl ToString, problem: Problem) -> ModelError {
        ModelError::Value { file: self.file.to_owned(), key, value: value.to_string(), problem }
    }

    fn required<T>(&self, key: &'static str, value: Option<T>) -> Result<T, ModelError> {
        value.ok_or_else(|| ModelError::Missing { file: self.file.to_owned(), key })
    }

    fn text(&self, key: &'static str, text: Option<String>) -> Result<String, ModelError> {
        let text = self.required(key, text)?;
        if text.trim().is_empty() {
            return Err(self.error(key, format_args!("{text:?}"), Problem::Empty));
        }
        Ok(text)
    }

    fn within<T: TryFrom<u64>>(
        &self,
        key: &'static str,
        value: Option<u64>,
        least: u64,
        most: u64,
    ) -> Result<T, ModelError> {
        let value = self.required(key, value)?;
        let number = if (least..=most).contains(&value) { T::try_from(value).ok() } else { None };
        number.ok_or_else(|| self.error(key, value, Problem::OutOfRange { least, most }))
    }

    fn vendor(&self, name: Option<&str>, base: Option<&Model>) -> Result<Vendor, ModelError> {
        let Some(name) = name else { return Ok(base.map_or(Vendor::default(), |base| base.vendor)) };
        Vendor::named(name).ok_or_else(|| {
            let known = Vendor::ALL.iter().map(|vendor| vendor.name()).collect();
            self.error("vendor", format_args!("{name:?}"), Problem::UnknownVendor(known))
        })
    }

    fn brand(&self, brand: Option<String>, base: Option<&Model>) -> Result<[u8; 48], ModelError> {
        if let (None, Some(base)) = (&brand, base) {
            return Ok(base.brand);
        }
        let text = self.text("brand", brand)?;
        let mut bytes = [0; 48];
        let printable = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
        match bytes.get_mut(..text.len()) {
            Some(start) if printable && text.len() < 48 => start.copy_from_slice(text.as_bytes()),
            _ => return Err(self.error("brand", format_args!("{text:?}"), Problem::NotABrand)),
        }
        Ok(bytes)
    }

    fn signature(&self, section: &SignatureSection, base: Option<&Model>) -> Result<Signature, ModelError> {
        let base = base.map(|base| base.signature);
        let family = section.family.or(base.map(|base| base.family.into()));
        let model = section.model.or(base.map(|base| base.model.into()));
        let stepping = section.stepping.or(base.map(|base| base.stepping.into()));
        let family = self.within("signature.family", family, 0, 0xf + 0xff)?;
        let most = if family == 6 || family >= 0xf { 0xff } else { 0xf };
        Ok(Signature {
            family,
            model: self.within("signature.model", model, 0, most)?,
            stepping: self.within("signature.stepping", stepping, 0, 0xf)?,
        })
    }

    fn physical(&self, section: &AddressWidths, base: Option<&Model>) -> Result<u8, ModelError> {
        let width = section.physical.or(base.map(|base| base.physical_address_width.into()));
        self.within("address-widths.physical", width, 36, 52)
    }

    fn clock(&self, section: &ClockSection) -> Result<Clock, ModelError> {
        let most = u64::from(u32::MAX);
        Ok(Clock {
            core_crystal_hz: self.within("clock.core-crystal-hz", section.core_crystal_hz, 1, most)?,
            tsc_hz: self.within("clock.tsc-hz", section.tsc_hz, 1, most)?,
        })
    }

    fn features(&self, file: &File, base: Option<&Model>) -> Result<Features, ModelError> {
        let mut features = Features::default();
        match (&file.features, base) {
            (None, Some(base)) => features = base.features,
            (names, _) => self.add(&mut features, "features", self.required("features", names.as_ref())?)?,
        }
        self.add(&mut features, "add-features", &file.add_features)?;
        self.remove(&mut features, &file.remove_features)?;
        match needs::lacking(&features) {
            None => Ok(features),
            Some((feature, lacks)) => {
                Err(self.error("features", feature.name(), Problem::Needs(lacks.name())))
            }
        }
    }

    fn add(&self, features: &mut Features, key: &'static str, names: &[String]) -> Result<(), ModelError> {
        for name in names {
            let feature = self.feature(key, name)?;
            if features.contains(feature) {
                return Err(self.error(key, name, Problem::Twice));
            }
            features.insert(feature);
        }
        Ok(())
    }

    fn remove(&self, features: &mut Features, names: &[String]) -> Result<(), ModelError> {
        const KEY: &str = "remove-features";
        for name in names {
            let feature = self.feature(KEY, name)?;
            if !features.contains(feature) {
                return Err(self.error(KEY, name, Problem::NotThere));
            }
            features.remove(feature);
        }
        Ok(())
    }

    fn feature(&self, key: &'static str, name: &str) -> Result<Feature, ModelError> {
        let Some(feature) = Feature::named(name) else {
            return Err(self.error(key, name, Problem::UnknownFeature));
        };
        match feature.offered() {
            Offered::Yes => Ok(feature),
            Offered::No(reason) => Err(self.error(key, name, Problem::NotOffered(reason))),
        }
    }
}

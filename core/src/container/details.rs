//! What each record of a container's log says of it.

use std::collections::BTreeMap;

use super::Container;
use super::known::KnownProcesses;
use crate::error::{Context, Result};
use crate::log::attributes::About;
use crate::log::driver::Settings;

impl Container {
    /// What the log options of the container (`labels`, `labels-regex`, `env`, `env-regex`, `tag`) have each record say of it, by name, as `docker logs --details` shows it. Nothing for a driver that has no such options.
    pub fn log_attributes(&self) -> Result<BTreeMap<String, String>> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("reading the log options of \"{}\"", self.name());
        let row = self.row(inner)?;
        let spec = row.spec()?;
        if spec.log_opt.is_empty() {
            return Ok(BTreeMap::new());
        }
        let process = KnownProcesses::of(inner, &row).context(doing)?;
        let about = About {
            id: &row.id,
            name: &row.name,
            image: &row.image,
            image_id: &row.image_id,
            labels: &spec.labels,
            environment: &process.env,
        };
        Settings::of(&spec)?.attributes(&about).context(doing)
    }
}

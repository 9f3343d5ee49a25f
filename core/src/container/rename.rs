//! Another name.

use super::{Container, validate};
use crate::error::{Context, Error, ErrorKind, Result};
use crate::state::containers;

impl Container {
    /// Gives it another name, whatever its state, and returns the handle that knows it. Fails with [`ErrorKind::NameInUse`] if another container has the name.
    pub fn rename(&self, name: &str) -> Result<Container> {
        let inner = &*self.engine.inner()?;
        let doing = || format!("renaming \"{}\"", self.name());
        validate::container_name(name).context(doing)?;
        let row = self.row(inner)?;
        if row.name == name {
            let why = format!("\"{name}\" is its name already");
            return Err(Error::new(ErrorKind::InvalidArgument, why).with_object(name)).context(doing);
        }
        // What happened under the old name goes on record before.
        super::look_at(inner, self.id()).context(doing)?;
        containers::rename(&inner.store.db, self.id(), &row.name, name).context(doing)?;
        Ok(Container { engine: self.engine.clone(), id: self.id.clone(), name: name.to_owned() })
    }
}

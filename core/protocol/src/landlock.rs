//! Rules of the kernel's Landlock for a program.

use serde::{Deserialize, Serialize};

/// Rules about files and ports. Where there is a rule of a kind, nothing of that kind is allowed without one.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Landlock {
    /// What may be read, by paths in the container.
    pub read: Vec<String>,
    /// What may be read and changed, but not executed.
    pub write: Vec<String>,
    /// What may be read and executed.
    pub exec: Vec<String>,
    /// TCP ports that may be listened on.
    pub bind: Vec<u16>,
    /// TCP ports that may be connected to.
    pub connect: Vec<u16>,
    /// Signals and abstract sockets stay among the program and what it starts.
    pub scope: bool,
}

impl Landlock {
    /// Whether there are no rules.
    pub fn is_empty(&self) -> bool {
        *self == Landlock::default()
    }

    /// The version of the kernel's interface that has all that is asked for.
    pub fn version(&self) -> u32 {
        match (self.scope, self.bind.is_empty() && self.connect.is_empty()) {
            (true, _) => 6,
            (false, false) => 4,
            (false, true) => 1,
        }
    }

    /// The rules in words, as they are asked for.
    pub fn words(&self) -> Vec<String> {
        let paths = [("read", &self.read), ("write", &self.write), ("exec", &self.exec)];
        let ports = [("bind", &self.bind), ("connect", &self.connect)];
        let paths =
            paths.into_iter().flat_map(|(kind, list)| list.iter().map(move |path| format!("{kind}:{path}")));
        let ports =
            ports.into_iter().flat_map(|(kind, list)| list.iter().map(move |port| format!("{kind}:{port}")));
        paths.chain(ports).chain(self.scope.then(|| "scope".to_owned())).collect()
    }
}

//! The tenant that a caller belongs to: part of every table's identity.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::identifier::{Identifier, IdentifierError};

/// A tenant's name. It comes from the caller's credential, never from what the caller sends.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Tenant(Identifier);

impl Tenant {
    /// A tenant with this name.
    pub fn new(name: &str) -> Result<Self, IdentifierError> {
        Identifier::new(name).map(Self)
    }

    /// The tenant's name.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }
}

// === impl Tenant ===

impl Default for Tenant {
    fn default() -> Self {
        Self(Identifier::known("default"))
    }
}

impl fmt::Display for Tenant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

//! Ports that others find by name.

use super::HeldPort;
use crate::owned_file::OwnedFile;

impl HeldPort {
    /// Keeps the file that says where the port is for as long as it lives, whatever it is handed over as. It takes the
    /// place of an earlier one.
    pub(crate) fn keep_name(&mut self, name: OwnedFile) {
        self.registration.keep_name(name);
    }
}

//! Containers that are stopped for a moment: they start again, whoever goes in the
//! middle of it.

use std::sync::Arc;

use stack_api::spec::Condition;

use super::wait::reached;
use crate::container::Handle;
use crate::progress::Progress;

/// They start again when this is dropped, unless somebody has started them.
#[derive(Debug, Default)]
pub(crate) struct Halted(Vec<Arc<Handle>>);

impl Halted {
    /// This one is about to be stopped.
    pub(crate) fn note(&mut self, handle: &Arc<Handle>) {
        self.0.push(Arc::clone(handle));
        // A daemon that is started in the middle of it starts it, too.
        handle.update(|record| record.container.halted = true);
    }

    /// Has them start and waits for it.
    pub(crate) async fn go_on(self, progress: &Progress) {
        let handles = self.0.clone();
        drop(self);
        for handle in handles {
            let name = handle.container().name;
            match reached(&handle, Condition::ServiceStarted).await {
                Ok(()) => progress.finish("container", &name, "started"),
                Err(error) => progress.warn(format!("{name} was stopped for a moment: {error}")),
            }
        }
    }

    /// What has not been started by now stays as it is.
    pub(crate) fn forget(mut self) {
        for handle in self.0.drain(..) {
            if handle.container().halted {
                handle.update(|record| record.container.halted = false);
            }
        }
    }
}

impl Drop for Halted {
    fn drop(&mut self) {
        for handle in &self.0 {
            if handle.container().halted && !*handle.ended.borrow() {
                handle.start();
            }
        }
    }
}

//! The processors of the host that a VM's process runs on.

use crate::Error;

/// A set of processors to be confined to, or none.
#[cfg(target_os = "linux")]
#[derive(Debug, Clone)]
pub(super) struct Affinity(Option<rustix::thread::CpuSet>);

#[cfg(target_os = "linux")]
impl Affinity {
    /// An empty list is all processors.
    ///
    /// # Errors
    /// The host does not have one of them, or this process must not use it.
    pub(super) fn new(processors: &[u32]) -> Result<Affinity, Error> {
        use rustix::thread::{CpuSet, sched_getaffinity};
        if processors.is_empty() {
            return Ok(Affinity(None));
        }
        let here = sched_getaffinity(None).map_err(|error| Error::Start(error.to_string()))?;
        let (mut set, most) = (CpuSet::new(), CpuSet::MAX_CPU);
        for wanted in processors {
            let number = *wanted as usize;
            if number >= most || !here.is_set(number) {
                let offered = (0..most).filter(|cpu| here.is_set(*cpu));
                let offered: Vec<String> = offered.map(|cpu| cpu.to_string()).collect();
                return Err(Error::Start(format!(
                    "`cpuset` names processor {wanted}, and there are {}",
                    offered.join(", ")
                )));
            }
            set.set(number);
        }
        Ok(Affinity(Some(set)))
    }

    /// Confines this process.
    pub(super) fn take(&self) -> std::io::Result<()> {
        match &self.0 {
            Some(set) => Ok(rustix::thread::sched_setaffinity(None, set)?),
            None => Ok(()),
        }
    }
}

/// There is no such thing.
#[cfg(not(target_os = "linux"))]
#[derive(Debug, Clone)]
pub(super) struct Affinity;

#[cfg(not(target_os = "linux"))]
impl Affinity {
    pub(super) fn new(processors: &[u32]) -> Result<Affinity, Error> {
        match processors {
            [] => Ok(Affinity),
            _ => Err(Error::Start(
                "a process cannot be confined to processors (`cpuset`) on this system".to_owned(),
            )),
        }
    }

    pub(super) fn take(&self) -> std::io::Result<()> {
        Ok(())
    }
}

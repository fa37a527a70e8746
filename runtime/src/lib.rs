//! Runs the micro-VMs: images, backends, life cycle, API.

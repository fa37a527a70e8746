//! Pulls images into a store and says how long it took.
//!
//! usage: unpack STORE REFERENCE...

use std::path::Path;
use std::time::Instant;

use stack_images::{PullOptions, Store};

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let root = args.next().ok_or("usage: unpack STORE REFERENCE...")?;
    let store = Store::open(Path::new(&root))?;
    for reference in args {
        let begin = Instant::now();
        let image = store
            .pull(&reference, &PullOptions::from_env(), |_| {})
            .await?;
        println!(
            "{} {} in {:.2?}",
            image.reference,
            image.digest,
            begin.elapsed()
        );
        for layer in &image.layers {
            println!("  {}", layer.display());
        }
        let begin = Instant::now();
        let known = store.get(&reference)?.is_some();
        println!(
            "  looked up again in {:.2?} (found: {known})",
            begin.elapsed()
        );
    }
    Ok(())
}

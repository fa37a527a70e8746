//! Takes images from files into a store.
//!
//! usage: load STORE FILE...

use std::path::Path;
use std::time::Instant;

use stack_images::Store;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let root = args.next().ok_or("usage: load STORE FILE...")?;
    let store = Store::open(Path::new(&root))?;
    for file in args {
        let begin = Instant::now();
        for image in store.load(Path::new(&file), |_| {}).await? {
            println!("{} {} ({})", image.reference, image.id, image.platform);
        }
        println!("  {file} in {:.2?}", begin.elapsed());
    }
    Ok(())
}

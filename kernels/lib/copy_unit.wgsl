// A unit of y that lies together in x, too.
fn load(at: u32) -> V { return x[at]; }

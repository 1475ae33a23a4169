// A unit of y whose four elements lie xStep apart in x.
fn load(at: u32) -> V {
  return V(x[at], x[at + params.xStep], x[at + 2u * params.xStep], x[at + 3u * params.xStep]);
}

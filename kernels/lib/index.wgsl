// Workgroups of a linear grid are split over x and y (linearGrid in kernel.ts); this joins them again.
fn workgroup_index(workgroup: vec3u, grid: vec3u) -> u32 {
  return workgroup.y * grid.x + workgroup.x;
}

// Storage only, for sources that mention the type.
#pragma once
struct __nv_bfloat16 {
  unsigned short bits;
};

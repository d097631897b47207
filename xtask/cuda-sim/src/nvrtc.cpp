// NVRTC: the stand-in's nvcc, called while the program runs.
#include "sim.h"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>

namespace {

enum : int { RTC_OK = 0, RTC_COMPILATION = 6, RTC_INTERNAL_ERROR = 11 };

struct Program {
  std::string source, ptx;
};

std::string folder() {
  const char *temporary = getenv("TMPDIR");
  std::string path = std::string(temporary ? temporary : P_tmpdir) + "/cudasim-XXXXXX";
  return mkdtemp(path.data()) ? path : std::string();
}

} // namespace

API int nvrtcCreateProgram(void **out, const char *source, const char *, int, const char *const *, const char *const *) {
  *out = new Program{source, ""};
  return RTC_OK;
}
API int nvrtcDestroyProgram(void **program) {
  delete static_cast<Program *>(*program);
  return RTC_OK;
}
// The folder stays, since its library is loaded from there.
API int nvrtcCompileProgram(void *handle, int, const char *const *) {
  Program &program = *static_cast<Program *>(handle);
  const char *nvcc = getenv("NVCC");
  const std::string base = folder();
  if (!nvcc || base.empty()) {
    cudasim::failed(RTC_INTERNAL_ERROR, "nvrtc: NVCC is not set, or no temporary folder can be made");
    return RTC_INTERNAL_ERROR;
  }
  std::ofstream(base + "/program.cu") << program.source;
  const std::string command = std::string("\"") + nvcc + "\" --ptx -odir \"" + base + "\" \"" + base + "/program.cu\"";
  if (system(command.c_str()) != 0) return RTC_COMPILATION;
  std::stringstream text;
  text << std::ifstream(base + "/program.ptx").rdbuf();
  program.ptx = text.str();
  return RTC_OK;
}
API int nvrtcGetPTXSize(void *program, size_t *bytes) {
  *bytes = static_cast<Program *>(program)->ptx.size() + 1;
  return RTC_OK;
}
API int nvrtcGetPTX(void *program, char *out) {
  strcpy(out, static_cast<Program *>(program)->ptx.c_str());
  return RTC_OK;
}
// The compiler's messages went to the terminal.
API int nvrtcGetProgramLogSize(void *, size_t *bytes) {
  *bytes = 1;
  return RTC_OK;
}
API int nvrtcGetProgramLog(void *, char *out) {
  *out = 0;
  return RTC_OK;
}

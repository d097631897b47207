// Empty: the shim's own `assert` ends a launch, the host's would end the program.
#pragma once

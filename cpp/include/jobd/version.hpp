// The version of these headers. CMake and the tests read it from here; it is the version of the whole project.
#pragma once

#define JOBD_VERSION_MAJOR 0
#define JOBD_VERSION_MINOR 1
#define JOBD_VERSION_PATCH 0
#define JOBD_VERSION "0.1.0"

namespace jobd {

/// The protocol these headers speak, see docs/protocol.md.
inline constexpr int protocol_version = 1;

}  // namespace jobd

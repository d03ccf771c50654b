# find_package(jobd 0.1 CONFIG REQUIRED)                    -> jobd::jobd
# find_package(jobd 0.1 CONFIG REQUIRED COMPONENTS tls)     -> also jobd::tls, with OpenSSL
#
# The same file serves a checkout (cpp/cmake), a wheel and an installed package: the headers are where the installation
# wrote down, or else in the nearest include folder above.
include("${CMAKE_CURRENT_LIST_DIR}/jobdTargets.cmake")

include("${CMAKE_CURRENT_LIST_DIR}/jobdPaths.cmake" OPTIONAL)
if(DEFINED JOBD_INCLUDE_FROM_CMAKE)
  get_filename_component(jobd_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/${JOBD_INCLUDE_FROM_CMAKE}" ABSOLUTE)
else()
  foreach(jobd_up IN ITEMS "../include" "../../include" "../../../include")
    get_filename_component(jobd_INCLUDE_DIR "${CMAKE_CURRENT_LIST_DIR}/${jobd_up}" ABSOLUTE)
    if(EXISTS "${jobd_INCLUDE_DIR}/jobd/client.hpp")
      break()
    endif()
  endforeach()
  unset(jobd_up)
endif()

if(EXISTS "${jobd_INCLUDE_DIR}/jobd/client.hpp")
  jobd_add_targets("${jobd_INCLUDE_DIR}")
  set(jobd_tls_FOUND OFF)
  if(TARGET jobd::tls)
    set(jobd_tls_FOUND ON)
  endif()
  foreach(jobd_component IN LISTS jobd_FIND_COMPONENTS)
    if(NOT jobd_${jobd_component}_FOUND AND jobd_FIND_REQUIRED_${jobd_component})
      set(jobd_FOUND OFF)
      set(jobd_NOT_FOUND_MESSAGE "jobd has no component '${jobd_component}' here; there is 'tls', which needs OpenSSL")
    endif()
  endforeach()
  unset(jobd_component)
else()
  set(jobd_FOUND OFF)
  set(jobd_NOT_FOUND_MESSAGE "jobd's headers are not where its package file expects them: ${jobd_INCLUDE_DIR}")
endif()

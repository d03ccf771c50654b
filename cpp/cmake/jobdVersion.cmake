# The version stands once, in version.hpp.
function(jobd_read_version include_dir result)
  file(STRINGS "${include_dir}/jobd/version.hpp" line REGEX "define JOBD_VERSION \"")
  string(REGEX REPLACE ".*\"(.*)\".*" "\\1" version "${line}")
  set(${result} "${version}" PARENT_SCOPE)
endfunction()

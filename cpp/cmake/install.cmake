# The library, its header and its package files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/convlens")
install(TARGETS convlens EXPORT convlens-targets ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}" COMPONENT development
        RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}" COMPONENT development)
install(FILES include/convlens.h DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}" COMPONENT development)
install(EXPORT convlens-targets NAMESPACE convlens:: DESTINATION "${package_dir}" COMPONENT development)
configure_package_config_file(cmake/convlens-config.cmake.in "${CMAKE_CURRENT_BINARY_DIR}/convlens-config.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${CMAKE_CURRENT_BINARY_DIR}/convlens-config-version.cmake"
                                 COMPATIBILITY SameMinorVersion)
install(FILES "${CMAKE_CURRENT_BINARY_DIR}/convlens-config.cmake"
        "${CMAKE_CURRENT_BINARY_DIR}/convlens-config-version.cmake" DESTINATION "${package_dir}" COMPONENT development)

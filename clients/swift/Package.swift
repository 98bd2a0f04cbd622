// swift-tools-version: 6.0
// No packages: on Apple's systems CryptoKit signs, on Linux libcrypto.

import PackageDescription

let package = Package(
    name: "baton-client",
    platforms: [.iOS(.v15), .macOS(.v12)],
    products: [.library(name: "Baton", targets: ["Baton"])],
    targets: [
        .systemLibrary(name: "CLibCrypto", pkgConfig: "libcrypto", providers: [.apt(["libssl-dev"])]),
        .target(name: "Baton", dependencies: [.target(name: "CLibCrypto", condition: .when(platforms: [.linux]))]),
        .executableTarget(name: "BatonAgent", dependencies: ["Baton"]), // Of the conformance tests. Not a product.
        .testTarget(
            name: "BatonTests", dependencies: ["Baton", "BatonAgent", .target(name: "CLibCrypto", condition: .when(platforms: [.linux]))]
        ),
    ],
    swiftLanguageModes: [.v6]
)

// CryptoKit: digests, software keys, and the Secure Enclave. This file has been parsed, but never compiled for a phone.

#if canImport(CryptoKit)
    import CryptoKit
    import Foundation
    import Security

    func sha256(_ bytes: Data) -> Data { Data(SHA256.hash(data: bytes)) }

    func hmac(_ secret: Data, _ message: Data) -> Data {
        Data(HMAC<SHA256>.authenticationCode(for: message, using: SymmetricKey(data: secret)))
    }

    /// Make a key: the private number in 32 bytes, and the public point in 64.
    func newP256() throws -> (number: Data, point: Data) {
        let key = P256.Signing.PrivateKey()
        return (key.rawRepresentation, key.publicKey.rawRepresentation)
    }

    /// Sign by a key in PKCS #8. Return the 64 bytes of RFC 9421. The number is where `SoftwareKeys` writes it.
    func signP256(_ pkcs8: Data, _ message: Data) throws -> Data {
        try P256.Signing.PrivateKey(rawRepresentation: Data([UInt8](pkcs8)[36..<68])).signature(for: message).rawRepresentation
    }

    /// The Secure Enclave of this device. A key asks for no finger or face: exchanges run in the background too.
    public struct DeviceEnclave: EnclaveCalls {
        public init() {}

        public var isAvailable: Bool { SecureEnclave.isAvailable }

        public func create() throws -> Data {
            var error: Unmanaged<CFError>?
            let access = SecAccessControlCreateWithFlags(nil, kSecAttrAccessibleAfterFirstUnlockThisDeviceOnly, .privateKeyUsage, &error)
            guard let access else { throw error!.takeRetainedValue() as any Error }
            return try SecureEnclave.P256.Signing.PrivateKey(accessControl: access).dataRepresentation
        }

        public func publicKey(_ data: Data) throws -> Data? {
            do {
                return try SecureEnclave.P256.Signing.PrivateKey(dataRepresentation: data).publicKey.rawRepresentation
            } catch let error as CryptoKitError {
                // The bytes are no key of this enclave: a record of another device, or of before an erasure.
                if case .incorrectParameterSize = error { return nil }
                throw error
            }
        }

        public func sign(_ data: Data, _ message: Data) throws -> Data {
            try SecureEnclave.P256.Signing.PrivateKey(dataRepresentation: data).signature(for: message).rawRepresentation
        }
    }
#endif

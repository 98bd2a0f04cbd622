import Foundation

/// What these keys need of the Secure Enclave. `data` is its sealed form of a key: only the enclave that made it can use it.
public protocol EnclaveCalls: Sendable {
    var isAvailable: Bool { get }
    func create() throws -> Data
    /// The public key, 64 bytes. Nil: the key can never be used again.
    func publicKey(_ data: Data) throws -> Data?
    func sign(_ data: Data, _ message: Data) throws -> Data
}

/// Keys of the Secure Enclave, which cannot be copied. Without an enclave (some simulators), software keys.
public struct EnclaveKeys: DeviceKeys {
    private let enclave: any EnclaveCalls
    private let software = SoftwareKeys()

    public init(enclave: any EnclaveCalls) { self.enclave = enclave }

    public func create() throws -> CreatedKey {
        guard enclave.isAvailable else { return try software.create() }
        let data = try enclave.create()
        guard let signer = try signer(data) else { throw InvalidInput("A new key has no public key.") }
        return CreatedKey(store: "enclave", data: data.base64EncodedString(), signer: signer)
    }

    public func open(_ key: StoredKey) throws -> (any Signer)? {
        if key.store != "enclave" { return try software.open(key) }
        return enclave.isAvailable ? try signer(try unbase64(key.data)) : nil // A record of another device.
    }

    public func remove(_ key: StoredKey) {
        // The key is only in the record: the enclave keeps nothing.
    }

    private func signer(_ data: Data) throws -> EnclaveSigner? {
        guard let point = try enclave.publicKey(data) else { return nil }
        let jwk = PublicJwk(crv: "P-256", kty: "EC", x: base64url(point.prefix(32)), y: base64url(point.suffix(32)))
        return EnclaveSigner(jwk: jwk, enclave: enclave, data: data)
    }
}

private struct EnclaveSigner: Signer {
    let jwk: PublicJwk
    let enclave: any EnclaveCalls
    let data: Data

    func sign(_ message: Data) throws -> Data { try enclave.sign(data, message) }
}

import Foundation

private let head = Data([
    0x30, 0x81, 0x87, 0x02, 0x01, 0x00, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07, 0x04, 0x6d, 0x30, 0x6b, 0x02, 0x01, 0x01, 0x04, 0x20,
])
private let between = Data([0xa1, 0x44, 0x03, 0x42, 0x00, 0x04])

/// P-256 keys in the record, as PKCS #8. Their protection is that of the storage. The format is that of the other clients:
/// the public key follows the private key (RFC 5915).
public struct SoftwareKeys: DeviceKeys {
    private static let store = "pkcs8"

    public init() {}

    public func create() throws -> CreatedKey {
        let (number, point) = try newP256()
        let data = (head + number + between + point).base64EncodedString()
        return CreatedKey(store: Self.store, data: data, signer: try signer(data))
    }

    /// A key of another store throws: it is an error of the program, and ends no login.
    public func open(_ key: StoredKey) throws -> (any Signer)? {
        guard key.store == Self.store else { throw InvalidInput("This key is in the store \(key.store).") }
        return try signer(key.data)
    }

    public func remove(_ key: StoredKey) {
        // The key is only in the record.
    }

    private func signer(_ data: String) throws -> SoftwareSigner { SoftwareSigner(jwk: try publicPart(data), key: try unbase64(data)) }
}

private struct SoftwareSigner: Signer {
    let jwk: PublicJwk
    let key: Data

    /// About one signature in 128 has a short r or s: `signP256` pads them.
    func sign(_ message: Data) throws -> Data { try signP256(key, message) }
}

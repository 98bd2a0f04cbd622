// The verification of signatures, which the client itself does not need.

import Foundation

@testable import Baton

#if canImport(CLibCrypto)
    import CLibCrypto

    private func verified(_ info: Data, _ digest: OpaquePointer?, _ message: Data, _ signature: Data) -> Bool {
        let key: OpaquePointer? = [UInt8](info).withUnsafeBufferPointer { bytes in
            var at = bytes.baseAddress
            return d2i_PUBKEY(nil, &at, bytes.count)
        }
        guard let key, let context = EVP_MD_CTX_new() else { return false }
        defer {
            EVP_MD_CTX_free(context)
            EVP_PKEY_free(key)
        }
        guard EVP_DigestVerifyInit(context, nil, digest, nil, key) == 1 else { return false }
        return EVP_DigestVerify(context, [UInt8](signature), signature.count, [UInt8](message), message.count) == 1
    }

    func verifiesP256(_ jwk: [String: String], _ message: Data, _ signature: Data) -> Bool {
        guard signature.count == 64, let x = try? unbase64(jwk["x"] ?? ""), let y = try? unbase64(jwk["y"] ?? "") else { return false }
        func integer(_ part: Data) -> Data {
            let digits = part.drop { $0 == 0 }
            let body = (digits.first ?? 0x80) >= 0x80 ? Data([0]) + digits : Data(digits)
            return Data([2, UInt8(body.count)]) + body
        }
        let body = integer(signature.prefix(32)) + integer(signature.suffix(32))
        return verified(hex("3059301306072a8648ce3d020106082a8648ce3d03010703420004") + x + y, EVP_sha256(), message, Data([0x30, UInt8(body.count)]) + body)
    }

    func verifiesEd25519(_ x: String, _ message: Data, _ signature: Data) -> Bool {
        verified(hex("302a300506032b6570032100") + ((try? unbase64(x)) ?? Data()), nil, message, signature)
    }
#else
    import CryptoKit

    func verifiesP256(_ jwk: [String: String], _ message: Data, _ signature: Data) -> Bool {
        guard let x = try? unbase64(jwk["x"] ?? ""), let y = try? unbase64(jwk["y"] ?? ""),
            let key = try? P256.Signing.PublicKey(rawRepresentation: x + y),
            let signed = try? P256.Signing.ECDSASignature(rawRepresentation: signature)
        else { return false }
        return key.isValidSignature(signed, for: message)
    }

    func verifiesEd25519(_ x: String, _ message: Data, _ signature: Data) -> Bool {
        guard let bytes = try? unbase64(x), let key = try? Curve25519.Signing.PublicKey(rawRepresentation: bytes) else { return false }
        return key.isValidSignature(signature, for: message)
    }
#endif

func hex(_ text: String) -> Data {
    let digits = Array(text)
    return Data(stride(from: 0, to: digits.count, by: 2).map { UInt8(String(digits[$0...($0 + 1)]), radix: 16) ?? 0 })
}

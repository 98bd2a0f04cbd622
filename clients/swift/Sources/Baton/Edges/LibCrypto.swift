// The cryptography of Linux: libcrypto. On Apple's systems it is CryptoKit, in AppleCrypto.swift.

#if canImport(CLibCrypto)
    import CLibCrypto
    import Foundation

    func sha256(_ bytes: Data) -> Data {
        var digest = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        _ = SHA256([UInt8](bytes), bytes.count, &digest)
        return Data(digest)
    }

    func hmac(_ secret: Data, _ message: Data) -> Data {
        var code = [UInt8](repeating: 0, count: Int(SHA256_DIGEST_LENGTH))
        _ = HMAC(EVP_sha256(), [UInt8](secret), Int32(secret.count), [UInt8](message), message.count, &code, nil)
        return Data(code)
    }

    /// Make a key: the private number in 32 bytes, and the public point in 64.
    func newP256() throws -> (number: Data, point: Data) {
        guard let key = baton_p256() else { throw CryptoTrouble() }
        defer { EVP_PKEY_free(key) }
        var private_: OpaquePointer?
        guard EVP_PKEY_get_bn_param(key, "priv", &private_) == 1 else { throw CryptoTrouble() }
        defer { BN_clear_free(private_) }
        var number = [UInt8](repeating: 0, count: 32)
        var point = [UInt8](repeating: 0, count: 65) // It begins with 4: not compressed.
        var length = 0
        guard BN_bn2binpad(private_, &number, 32) == 32,
            EVP_PKEY_get_octet_string_param(key, "pub", &point, point.count, &length) == 1, length == 65
        else { throw CryptoTrouble() }
        return (Data(number), Data(point[1...]))
    }

    /// Sign by a key in PKCS #8. Return the 64 bytes of RFC 9421.
    func signP256(_ pkcs8: Data, _ message: Data) throws -> Data {
        let key: OpaquePointer? = [UInt8](pkcs8).withUnsafeBufferPointer { bytes in
            var at = bytes.baseAddress
            return d2i_AutoPrivateKey(nil, &at, bytes.count)
        }
        guard let key, let context = EVP_MD_CTX_new() else { throw CryptoTrouble() }
        defer {
            EVP_MD_CTX_free(context)
            EVP_PKEY_free(key)
        }
        var der = [UInt8](repeating: 0, count: 80)
        var length = der.count
        guard EVP_DigestSignInit(context, nil, EVP_sha256(), nil, key) == 1,
            EVP_DigestSign(context, &der, &length, [UInt8](message), message.count) == 1
        else { throw CryptoTrouble() }
        return try rawSignature(Data(der[..<length]))
    }

    private struct CryptoTrouble: Error {}
#endif

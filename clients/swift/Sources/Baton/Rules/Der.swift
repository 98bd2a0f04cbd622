// A signature of ECDSA P-256: from DER, which libcrypto returns, to the 64 bytes of RFC 9421.

import Foundation

/// Convert, or throw `InvalidInput`: tags, short lengths and minimal positive integers only.
func rawSignature(_ given: Data) throws -> Data {
    let der = [UInt8](given)
    func at(_ index: Int) -> Int { index < der.count ? Int(der[index]) : -1 }
    guard at(0) == 0x30, at(1) == der.count - 2 else { throw InvalidInput("not a DER signature") }
    var raw = Data()
    var start = 2
    for _ in 0..<2 {
        let length = at(start + 1)
        let first = at(start + 2)
        let padded = first == 0
        let digits = padded ? length - 1 : length
        let whole = at(start) == 2 && length > 0 && start + 2 + length <= der.count
        guard whole, first < 0x80, !padded || at(start + 3) >= 0x80, (1...32).contains(digits) else {
            throw InvalidInput("not a DER signature of P-256")
        }
        start += 2 + length
        raw += Data(count: 32 - digits) + der[(start - digits)..<start]
    }
    guard start == der.count else { throw InvalidInput("bytes after a DER signature") }
    return raw
}

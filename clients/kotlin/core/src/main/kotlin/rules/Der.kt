package baton.client

/**
 * Convert an ECDSA signature of P-256 from DER, which the JCA returns, to the 64 bytes of RFC 9421, or throw
 * [IllegalArgumentException]: tags, short lengths and minimal positive integers only.
 */
public fun rawSignature(der: ByteArray): ByteArray {
    fun at(index: Int): Int = if (index < der.size) der[index].toInt() and 0xff else -1
    require(at(0) == 0x30 && at(1) == der.size - 2) { "not a DER signature" }
    val raw = ByteArray(64)
    var start = 2
    for (end in listOf(32, 64)) {
        val length = at(start + 1)
        val first = at(start + 2)
        val padded = first == 0
        val digits = if (padded) length - 1 else length
        val whole = at(start) == 2 && length > 0 && start + 2 + length <= der.size
        require(whole && first < 0x80 && (!padded || at(start + 3) >= 0x80) && digits in 1..32) { "not a DER signature of P-256" }
        der.copyInto(raw, end - digits, start + 2 + length - digits, start + 2 + length)
        start += 2 + length
    }
    require(start == der.size) { "bytes after a DER signature" }
    return raw
}

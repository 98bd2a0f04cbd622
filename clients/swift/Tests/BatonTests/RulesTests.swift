import Foundation
import Testing

@testable import Baton

/// The shared vectors, all but attempts.json, which `AttemptsTests` reads.
@Suite struct RulesTests {
    @Test func everyFileIsReadAndCounted() throws {
        let names = try FileManager.default.contentsOfDirectory(atPath: package.appendingPathComponent("../vectors").path).sorted()
        #expect(names.count == 12)
        for name in names {
            let count = vectors(String(name.dropLast(5))).count
            #expect(count > 0)
            print("\(name): \(count)") // As `python -m tools.client_vectors` prints them.
        }
    }

    @Test(arguments: vectors("signature_base")) func signatureBases(_ one: Vector) throws {
        let made = try signatureBase(
            method: one.text("method"), url: one.text("url"), headers: one.texts("headers"), created: Int64(one.number("created")),
            keyId: one.text("key_id"), nonce: one.text("nonce")
        )
        #expect(made.input == one.text("input"))
        #expect(made.base == one.text("base"))
        let query = one.text("url").split(separator: "?").dropFirst().first.map { $0.split(separator: "&").sorted() } ?? []
        #expect(encodeQuery(one.texts("query")).split(separator: "&").sorted() == query)
    }

    @Test(arguments: vectors("signatures")) func signatures(_ one: Vector) throws {
        let base = Data(one.text("base").utf8)
        let signature = try unbase64(one.text("signature"))
        switch one.text("kind") {
        case "hmac": #expect(hmac(try unbase64(one.text("key")), base) == signature)
        case "p256": #expect(verifiesP256(one.texts("key"), base, signature))
        default: #expect(verifiesEd25519(one.texts("key")["x"] ?? "", base, signature))
        }
    }

    @Test(arguments: vectors("digest")) func digests(_ one: Vector) throws {
        #expect(contentDigest(try unbase64(one.text("body"))) == one.text("expect"))
    }

    @Test(arguments: vectors("thumbprint")) func thumbprints(_ one: Vector) {
        let jwk = one.texts("jwk")
        #expect(PublicJwk(crv: jwk["crv"]!, kty: jwk["kty"]!, x: jwk["x"]!, y: jwk["y"]).thumbprint == one.text("expect"))
    }

    @Test(arguments: vectors("der")) func derSignatures(_ one: Vector) throws {
        let der = hex(one.text("der"))
        if one.has("expect") {
            #expect(try rawSignature(der) == hex(one.text("expect")))
        } else {
            #expect(throws: InvalidInput.self) { try rawSignature(der) }
        }
    }

    @Test(arguments: vectors("base_url")) func baseURLs(_ one: Vector) throws {
        if one.has("refused") {
            #expect(throws: InvalidInput.self) { try readBaseURL(one.text("url")) }
        } else {
            let base = try readBaseURL(one.text("url"))
            #expect(base == Base(origin: one.text("origin"), authority: one.text("authority"), prefix: one.text("prefix")))
            #expect(URL(string: base.origin + base.prefix)?.absoluteString == base.origin + base.prefix, "what is signed is what is sent")
        }
    }

    @Test(arguments: vectors("path")) func paths(_ one: Vector) throws {
        let path = one.text("path")
        if one.isTrue("accepted") {
            try checkPath(path)
            #expect(URL(string: "https://api.example.com\(path)")?.absoluteString == "https://api.example.com\(path)")
        } else {
            #expect(throws: InvalidInput.self) { try checkPath(path) }
        }
    }

    @Test(arguments: vectors("problems")) func problems(_ one: Vector) throws {
        let expect = one.vector("expect")
        let read = readAnswer(try rawAnswer(one.vector("answer")), url: "https://api.example.com/api/me", method: "GET", team: one.isTrue("team"))
        guard case .ours(let ours) = read else {
            #expect(expect.isTrue("foreign"))
            return
        }
        #expect(!expect.isTrue("foreign"))
        #expect(ours.answer.status == Int(expect.number("status")))
        #expect((ours.refused != nil) == expect.has("code"))
        if let refused = ours.refused {
            #expect([refused.error, refused.code, refused.action] == [expect.text("error"), expect.text("code"), expect.text("action")])
            #expect(refused.reason == expect["reason"]?.text)
            #expect(refused.retryAfter == expect.number("retry_after"))
        }
    }

    @Test(arguments: vectors("clock")) func clocks(_ one: Vector) throws {
        let raw = try rawAnswer(one.vector("answer"))
        let members = raw.bytes.isEmpty ? [:] : try JSON.parse(raw.bytes).members ?? [:]
        let stated = serverTime(raw.headers, members)
        #expect(newOffset(one.number("offset"), before: one.number("before"), after: one.number("after"), stated: stated) == one.number("expect"))
    }

    @Test(arguments: vectors("backoff")) func pauses(_ one: Vector) {
        let length = pauseLength(pauses: Int(one.number("pauses")), draw: one.number("draw"), atLeast: one.number("at_least"))
        #expect(length == one.number("expect"))
    }

    @Test(arguments: vectors("record")) func records(_ one: Vector) throws {
        let text = Data(one.text("text").utf8)
        if one.isTrue("broken") {
            #expect(throws: BatonError.self) { try readRecord(text) }
        } else {
            let record = try readRecord(text)
            #expect(try JSON.parse(writeRecord(record)) == one["expect"])
            #expect(try readRecord(writeRecord(record)) == record)
        }
    }

    @Test func percentSignsInPaths() throws {
        try checkPath("/" + String(repeating: "a", count: 100_000) + String(repeating: "%41", count: 100_000))
        for path in ["/%", "/%4", "/%4g", "/a%", "/a b", "/%\u{10}0"] { #expect(throws: InvalidInput.self) { try checkPath(path) } }
    }

    @Test func aNumberOfAnyServerIsNoCrash() {
        #expect(nanoseconds(999_999_999_999) == 1_000_000_000_000_000_000 && nanoseconds(-1) == 0 && nanoseconds(0.5) == 500_000_000)
        let session = Session(deviceId: "d", accessToken: "t", renewal: nil, expiresAt: 0, attempt: "a", keyId: nil, secret: nil)
        #expect(loginDone(session, ["recovery_codes_left": 1e300]).recoveryCodesLeft == nil)
        #expect(loginDone(session, ["recovery_codes_left": 7]).recoveryCodesLeft == 7)
    }

    @Test func base64OfEveryByte() throws {
        let bytes = Data((0...255).map { UInt8($0) })
        let plain = bytes.base64EncodedString()
        for text in [plain, base64url(bytes), plain.replacingOccurrences(of: "=", with: "")] { #expect(try unbase64(text) == bytes) }
        #expect(Set((0..<100).map { _ in randomName() }).count == 100)
        #expect(randomName().count == 22)
    }

    @Test func jsonIsStrict() throws {
        let deep = String(repeating: "[", count: 10_000)
        let wrong = [
            "", "{", "[1,]", "{\"a\":1,}", "01", "1.", ".5", "+1", "nul", "NaN", "1e999", "'a'", "\"\n\"", "\"\\x\"", "\"\\u12\"", "1 2", "\u{FEFF}1",
            "a", "\"", deep, "{\"a\":1,\"\\u0061\":2}",
        ]
        for text in wrong { #expect(throws: InvalidInput.self) { try JSON.parse(Data(text.utf8)) } }
        #expect(throws: InvalidInput.self) { try JSON.parse(Data([0x22, 0xff, 0x22])) }
        let value: JSON = ["a": [1, -2.5, true, .null, "é\"\\\n\u{1}"], "b": [:], "c": [], "\u{1F600}": "\u{1F600}"]
        #expect(try JSON.parse(value.written()) == value)
        let read = try JSON.parse(Data(#" [1, 1.5, 1e2, 12345678901234567890, "\/\b\f\r\t\u00e9 \ud83d\ude00x"]"#.utf8))
        #expect(read == [1, 1.5, 100.0, 12345678901234567890.0, "/\u{8}\u{c}\r\té \u{1F600}x"])
        #expect(throws: InvalidInput.self) { try JSON.number(.nan).written() }
        #expect(try JSONDecoder().decode([String: [Int]].self, from: JSONEncoder().encode(["a": [1, 2]] as JSON)) == ["a": [1, 2]])
    }

    @Test func aSoftwareKeySurvivesItsText() throws {
        let keys = SoftwareKeys()
        for _ in 0..<300 { // About one signature in 128 has a short number.
            let made = try keys.create()
            let opened = try #require(try keys.open(StoredKey(store: made.store, data: made.data, jwk: nil)))
            #expect(opened.jwk == made.signer.jwk)
            let signature = try opened.sign(Data("message".utf8))
            #expect(verifiesP256(["x": opened.jwk.x, "y": opened.jwk.y ?? ""], Data("message".utf8), signature))
        }
    }

    @Test func aKeyThatAnotherClientWroteCanBeOpened() throws {
        let text = try #require(vectors("record").first { $0.text("name") == "v1: a key" }).text("text")
        let key = try #require(try readRecord(Data(text.utf8)).key)
        let signer = try #require(try SoftwareKeys().open(key))
        #expect(verifiesP256(["x": signer.jwk.x, "y": signer.jwk.y ?? ""], Data("m".utf8), try signer.sign(Data("m".utf8))))
        #expect(throws: InvalidInput.self) { try SoftwareKeys().open(StoredKey(store: "keystore", data: key.data, jwk: nil)) }
    }
}

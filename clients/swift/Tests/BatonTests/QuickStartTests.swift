import Foundation
import Testing

@testable import Baton

private typealias Client = Baton

/// The quick start of the README runs. The README has these lines to the letter.
@Suite(.timeLimit(.minutes(1))) struct QuickStartTests {
    private let folder = FileManager.default.temporaryDirectory.appendingPathComponent("baton-\(UUID().uuidString)").path

    @Test func theQuickStart() async throws {
        let server = FakeServer()
        server.account(ada, factor: "123456")
        let printed = Box<[String]>([])
        let (baseURL, email) = (address, ada)
        let transfer: JSON = ["to": "bob", "amount": 7]
        @Sendable func ask(_ what: String) -> String { what == "Code" ? "123456" : password }
        func print(_ value: Any) { printed.change { $0.append("\(value)") } }
        enum Baton {
            nonisolated(unsafe) static var wire: (any Transport)!
            static func newIdempotencyKey() -> String { Client.newIdempotencyKey() }
            static func files(baseURL: String, clientId: String, folder: String) throws -> Client {
                let clock = (wire as! FakeServer).time
                return try Client(
                    baseURL: baseURL, clientId: clientId, storage: FileStorage(folder: folder), keys: SoftwareKeys(), transport: wire,
                    options: Options(clock: { clock })
                )
            }
        }
        Baton.wire = server
        // [quick-start]
        let baton = try Baton.files(baseURL: baseURL, clientId: "mobile", folder: folder)
        var login = try await baton.login(email: email, password: password, deviceName: "Ada's laptop")
        while case .step(let step) = login { login = try await step.prove(Proof(totp: ask("Code"))) }
        print(try await baton.me())

        let key = Baton.newIdempotencyKey() // Store it with the transfer, before the call.
        let confirm: Confirm = { _ in Proof(password: ask("Password")) } // Called only if the route requires it.
        let answer = try await baton.call("POST", "/transfers", json: transfer, confirm: confirm, idempotencyKey: key)
        print(try answer.json())
        print(try await baton.logout())
        // [quick-start]
        #expect(printed.value.count == 3)
        #expect(printed.value.last == "LogoutResult(confirmed: true)")
        #expect(try answer.json() == ["paid": true])
    }

    @Test func theReadmeHasItToTheLetter() throws {
        let parts = try String(contentsOfFile: #filePath, encoding: .utf8).components(separatedBy: "        // [quick-start]\n")
        let lines = parts[1].components(separatedBy: "\n").map { String($0.dropFirst(8)) }
        let block = lines.joined(separator: "\n").trimmingCharacters(in: .newlines)
        let readme = try String(contentsOf: package.appendingPathComponent("README.md"), encoding: .utf8)
        #expect(readme.contains("```swift\n\(block)\n```"), "the README has another quick start")
        #expect(block.components(separatedBy: "\n").count <= 12)
    }
}

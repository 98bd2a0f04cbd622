// The numbers of the client contract. All times are seconds.

import Foundation

let early: TimeInterval = 10 // A token that expires within this time is exchanged first: it could expire on the way.
let sendingLimit: TimeInterval = 10 // The time after which one request counts as lost, its body included.
let pauseFirst: TimeInterval = 0.5
let pauseLongest: TimeInterval = 30
let moment: TimeInterval = 1 // The minimum wait before a second `superseded` counts (rule 8).
let defectsMost = 3 // After this number of `server_error` in a row, waiting longer does not help.
let grantsMost = 2 // A lost answer may have spent the first grant.
let answerBytes = 1 << 20
let revocationsMost = 8
let revocationLife: TimeInterval = 30 * 86400
let revocationWait: TimeInterval = 10 // The maximum wait for the answer to a revocation. It is stored and sent again.
let revocationRest: TimeInterval = 30

import { members } from '../members.ts'
import { kind } from './kind.ts'

/** An issuer that waits for somebody to fetch the request and bring the chain. */
export function manualIssuerSection() {
  return members({
    kind: kind('manual', 'A back end or a person fetches the request and brings the chain.'),
  })
}

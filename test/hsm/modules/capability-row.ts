import { capabilityNames, type CapabilityAnswer } from '../../../src/conformance/capabilities.ts'
import { keyTypeNames } from '../../../src/hsm/key-types.ts'

/** What a token can do, as a row of the guide's table: for each type of key `yes`, or what it cannot do. */
export function capabilityRow(name: string, answers: readonly CapabilityAnswer[]): string {
  const cells = keyTypeNames.map((keyType) => {
    const asked = answers.filter((each) => each.keyType === keyType)
    const missing = asked.filter(({ answer }) => answer === 'no').map(({ capability }) => capability)
    if (missing.length > 0) return `no ${missing.join(', ')}`
    return asked.length === capabilityNames.length ? 'yes' : 'not tried'
  })
  return `| ${name} | ${cells.join(' | ')} |`
}

import { describe, expect, it } from 'vitest'
import type { FoundGeneration } from '../../src/agent/events.ts'
import { initialState } from '../../src/agent/machine.ts'
import { reconcile } from '../../src/agent/reconcile.ts'
import type { AgentState, Generation, Roll } from '../../src/agent/states.ts'
import { dpsPolicy, type DrivenMachine, facts } from '../support/machine.ts'
import {
  connected,
  fresh,
  proving,
  requesting,
  retiring,
  stagedAfterRefusal,
  storing,
  switching,
} from '../support/machine-stages.ts'

const now = 2_000_000

/** On the token: `4` is whole, `4k` a key alone, `4c` a certificate alone, `4x` another device's. */
function onToken(description: string): FoundGeneration[] {
  return description
    .split(' ')
    .filter((word) => word !== '')
    .map((word) => {
      const number = Number.parseInt(word, 10)
      const half = word.slice(String(number).length)
      const certificate = half === 'k' ? null : facts(number, half === 'x' ? 'another-device' : undefined)
      return { number, keyId: `0${number}`, certificate, hasKey: half !== 'c' }
    })
}

/** What was decided: `4*` is active, `4→` is staged, `4…` is worked on, `4-` leaves now, `4~` leaves later, `4` stays. */
function decided(journal: AgentState, token: string): string {
  const { generations, active, roll } = reconcile(journal, onToken(token), 'gateway-7', now)
  const planned = 'plan' in roll && roll.phase !== 'failed' && roll.phase !== 'retiring' ? roll : null
  const worked = planned?.plan.generation
  const fate = ({ number, retireAt }: Generation): string => {
    if (number === active) return '*'
    if (number === worked) return planned?.phase === 'staged' ? '→' : '…'
    return retireAt === null ? '' : retireAt <= now ? '-' : '~'
  }
  const missing = worked === undefined || generations.some((g) => g.number === worked) ? [] : [`(${worked}…)`]
  return [...generations.map((g) => `${g.number}${fate(g)}`), ...missing].join(' ')
}

const lost = (): AgentState => initialState(dpsPolicy, 'gateway-7')
const after = (stage: () => DrivenMachine) => (): AgentState => stage().state
const failed = (): AgentState => requesting().fails('requestCertificate', refused).state
const breached = (): AgentState =>
  connected().roll('breach').generated().issued().stored().registered().hubConnected().state
const refused = { code: 'ISSUER_REFUSED' as const, retryable: false, retryAfterMs: null }

type Row = [why: string, journal: () => AgentState, token: string, decision: string]

describe('reconciliation resumes', () => {
  const rows: Row[] = [
    ['the active generation', after(connected), '1', '1*'],
    ['a roll that makes its key, before the key', after(() => connected().roll()), '1', '1* (2…)'],
    ['a roll that makes its key, behind the key', after(() => connected().roll()), '1 2k', '1* 2…'],
    ['a roll that waits for its certificate', after(requesting), '1 2k', '1* 2…'],
    ['a roll that stores its certificate', after(storing), '1 2k', '1* 2…'],
    ['a staged generation', after(stagedAfterRefusal), '1 2', '1* 2→'],
    ['a proof', after(proving), '1 2', '1* 2→'],
    ['a switch', after(switching), '1 2', '1* 2→'],
    ['an overlap', after(retiring), '1 2', '1~ 2*'],
    ['the end of a breach', breached, '1 2', '1- 2*'],
    ['the first certificate of a device', after(() => fresh().start().generated()), '1k', '1…'],
  ]
  it.each(rows)('%s', (_why, journal, token, decision) => {
    expect(decided(journal(), token)).toBe(decision)
  })
})

describe('reconciliation rolls forward', () => {
  const rows: Row[] = [
    ['where the certificate was stored before the crash', after(storing), '1 2', '1* 2→'],
    ['where it was issued and stored before an older journal', after(requesting), '1 2', '1* 2→'],
    ['to a generation that an older journal does not know', after(connected), '1 5', '1* 5→'],
    ['to the newest of several', after(connected), '1 4 5', '1* 4 5→'],
    ['over the roll of an older journal', after(requesting), '1 2k 5', '1* 2- 5→'],
    ['past the roll of an older journal, when the active one is gone too', after(requesting), '2 5', '2 5'],
    ['to where DPS is asked, when the active one is gone too', after(connected), '4 5', '4 5'],
    ['but not to half of a generation', after(connected), '1 5k', '1* 5-'],
    ["but not to another device's", after(connected), '1 5x', '1*'],
  ]
  it.each(rows)('%s', (_why, journal, token, decision) => {
    expect(decided(journal(), token)).toBe(decision)
  })
})

describe('reconciliation rolls back', () => {
  const rows: Row[] = [
    ['a roll whose key has vanished', after(requesting), '1', '1* (2…)'],
    ['a roll whose key vanished from beside its certificate', after(storing), '1 2c', '1* 2…'],
    ['a proof whose certificate has vanished', after(proving), '1 2k', '1* 2…'],
    ['a switch whose generation has vanished', after(switching), '1', '1* (2…)'],
    ['an overlap whose new generation has vanished', after(retiring), '1', '1'],
  ]
  it.each(rows)('%s', (_why, journal, token, decision) => {
    expect(decided(journal(), token)).toBe(decision)
  })

  it('with a number of its own, where another device has taken it', () => {
    const { roll, nextGeneration } = reconcile(requesting().state, onToken('1 2x'), 'gateway-7', now)
    expect(roll).toMatchObject({ phase: 'generating', plan: { generation: 3, requestId: 'expiry-roll' } })
    expect(nextGeneration).toBe(4)
  })
})

describe('reconciliation cleans up', () => {
  const rows: Row[] = [
    ['a key without certificate', after(connected), '1 7k', '1* 7-'],
    ['a certificate without key', after(connected), '1 7c', '1* 7-'],
    ['what a failed roll has left', failed, '1 2k', '1* 2-'],
    ['what was destroyed and has come back', after(() => retiring().wake().destroyed()), '1 2', '1- 2*'],
    ['many at a time', after(connected), '1 6c 7k 8k', '1* 6- 7- 8-'],
  ]
  it.each(rows)('%s', (_why, journal, token, decision) => {
    expect(decided(journal(), token)).toBe(decision)
  })
})

describe('reconciliation spares', () => {
  const rows: Row[] = [
    ['every whole generation, with the journal lost', lost, '4 5', '4 5'],
    ['the only whole one, with the journal lost', lost, '4', '4'],
    ['a key alone, with the journal lost', lost, '4k', '4'],
    ['the newest key alone, with the journal lost', lost, '3k 4k 5c', '3- 4 5-'],
    ['a certificate alone, with the journal lost', lost, '4c', '4'],
    ['the key of the active generation, whose certificate is gone', after(connected), '1k', '1'],
    ['it rather than a newer key', after(connected), '1k 7k', '1 7-'],
    ['its certificate, while its key is out of sight', after(connected), '1c 7k', '1 7-'],
    ['the old generation, while the new one is half gone', after(retiring), '1 2k', '1 2'],
    ['what has come back, when there is nothing else', after(() => retiring().wake().destroyed()), '1', '1'],
    ["another device's generation", lost, '4x', ''],
  ]
  it.each(rows)('%s', (_why, journal, token, decision) => {
    expect(decided(journal(), token)).toBe(decision)
  })
})

describe('reconciliation never', () => {
  const journals: [string, () => AgentState][] = [
    ['no journal', lost],
    ['a journal of a connected device', after(connected)],
    ['of a roll that makes its key', after(() => connected().roll())],
    ['of a request', after(requesting)],
    ['of a store', after(storing)],
    ['of a proof', after(proving)],
    ['of an overlap', after(retiring)],
    ['of a failed roll', failed],
    ['of a breach', breached],
  ]
  const words = (number: number): string[] =>
    ['', 'k', 'c', 'x', 'whole'].map((half) => half && word(number, half))
  const word = (number: number, half: string): string => `${number}${half === 'whole' ? '' : half}`
  const tokens = words(1).flatMap((one) =>
    words(2).flatMap((two) => words(5).map((five) => [one, two, five].join(' '))),
  )

  it.each(journals)('lets go of what may be the only working one, nor loses count: %s', (_name, journal) => {
    const before = journal()
    expect(tokens).toHaveLength(125)
    for (const token of tokens) {
      const found = onToken(token)
      const { generations, active, roll, nextGeneration } = reconcile(before, found, 'gateway-7', now)
      const whole = generations.filter((g) => g.certificate !== null && !g.compromised)
      const leaving = whole.filter((g) => g.retireAt !== null && g.retireAt <= now)
      const context = `${token}: ${decided(before, token)}`
      if (active === null) expect(leaving, context).toEqual([])
      else
        expect(
          whole.map((g) => g.number),
          context,
        ).toContain(active)
      expect(
        leaving.map((g) => g.number),
        context,
      ).not.toContain(active)
      // No new key gets a number that was ever used, and no two generations share one.
      const used = [...found.map((each) => each.number), ...planned(roll)]
      expect(nextGeneration, context).toBeGreaterThan(Math.max(0, before.nextGeneration - 1, ...used))
      expect(new Set(generations.map((g) => g.number)).size).toBe(generations.length)
    }
  })

  it('believes a certificate that is only in the journal', () => {
    const { generations } = reconcile(connected().state, onToken('1k'), 'gateway-7', now)
    expect(generations).toMatchObject([{ number: 1, certificate: null }])
  })

  it('forgets that a key is compromised', () => {
    const { generations } = reconcile(breached(), onToken('1 2'), 'gateway-7', now)
    expect(generations).toMatchObject([{ number: 1, compromised: true }, { number: 2 }])
  })
})

function planned(roll: Roll): number[] {
  return 'plan' in roll ? [roll.plan.generation] : []
}

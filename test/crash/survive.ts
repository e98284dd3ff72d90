import { readFileSync, rmSync } from 'node:fs'
import type { Harm, Point } from './conversation.ts'
import type { CrashCloud, CrashDevice, Enrollment, RollMode } from './crash-cloud.ts'
import type { DeviceProcess } from './device-process.ts'

/** Which devices are harmed, and in which rolls. */
export interface Scenario {
  readonly world: CrashCloud
  readonly enrollment: Enrollment
  readonly mode: RollMode
  /**
   * Each device is first killed here in its roll, and harmed when it starts again. Without it, it is harmed in the roll.
   */
  readonly killedBefore?: Harm
}

/** How a scenario went. */
export interface Survival {
  readonly survived: number
  readonly of: number
  /** What went wrong, with all that was seen. */
  readonly failures: readonly string[]
}

/** How often a point that a run did not come to is tried again: what runs side by side is not always in one order. */
const tries = 5

/** Everything that happens in one roll of a device, or from its start until it is settled, in order. */
export async function recordPoints(scenario: Scenario): Promise<readonly Point[]> {
  const { world, enrollment, mode } = scenario
  const device = world.addDevice(enrollment, mode)
  let running = device.start()
  const watch = { harm: null, trace: device.trace }
  try {
    await requireWhole(device, running, 'the first start')
    rmSync(device.trace, { force: true })
    if (scenario.killedBefore === undefined) {
      running.order({ kind: 'roll', mode, watch })
    } else {
      await requireHarm(device, running, scenario.killedBefore)
      running = device.start(watch)
    }
    await requireWhole(device, running, 'a run that nothing more disturbs')
    return numbered(readFileSync(device.trace, 'utf8').trimEnd().split('\n'))
  } finally {
    running.end()
  }
}

function numbered(names: readonly string[]): readonly Point[] {
  const counts = new Map<string, number>()
  return names.map((name) => {
    const nth = (counts.get(name) ?? 0) + 1
    counts.set(name, nth)
    return { name, nth }
  })
}

/** SIGKILL on both sides of every point, and in the middle of every write. */
export function killsAt(points: readonly Point[]): readonly Harm[] {
  return points.flatMap((at) => {
    const sides = at.name.startsWith('write ')
      ? (['before', 'torn', 'after'] as const)
      : (['before', 'after'] as const)
    return sides.map((side) => ({ kind: 'kill', at, side }) as const)
  })
}

/** A full disk and a broken one at every operation on a file; a write may have done half of its work. */
export function diskErrorsAt(points: readonly Point[]): readonly Harm[] {
  return points
    .filter(({ name }) => /^[a-z]\w* (state|token)\//.test(name))
    .flatMap((at) =>
      (at.name.startsWith('write ') ? (['before', 'torn'] as const) : (['before'] as const)).flatMap(
        (side) => [{ kind: 'ENOSPC', at, side } as const, { kind: 'EIO', at, side } as const],
      ),
    )
}

/**
 * Does each of these harms to a device, one after the other, two devices side by side. After each one the process is
 * started again: the device has to settle, and to be whole; then it is harmed again.
 */
export async function survive(scenario: Scenario, harms: readonly Harm[]): Promise<Survival> {
  const left = harms.map((harm) => ({ harm, tries }))
  const failures: string[] = []
  let survived = 0
  const lane = async (): Promise<void> => {
    let device = newDevice(scenario)
    for (let next = left.shift(); next !== undefined; next = left.shift()) {
      try {
        if (await isSurvived(scenario, device, next.harm)) survived += 1
        else if (next.tries > 1) left.push({ harm: next.harm, tries: next.tries - 1 })
        else throw new Error('no run came to this point')
      } catch (error) {
        failures.push(`${titleOf(next.harm)}: ${error instanceof Error ? error.message : String(error)}`)
        device.running.end()
        device = newDevice(scenario)
      }
    }
    device.running.end()
  }
  await Promise.all([lane(), lane()])
  return { survived, of: harms.length, failures }
}

/** A device with the process it runs in. */
interface Lane {
  readonly device: CrashDevice
  running: DeviceProcess
  /** Whether {@link requireWhole} has seen this process settle. */
  isWhole: boolean
}

function newDevice({ world, enrollment, mode }: Scenario): Lane {
  const device = world.addDevice(enrollment, mode)
  return { device, running: device.start(), isWhole: false }
}

/** `false` where the point was not reached. */
async function isSurvived({ killedBefore }: Scenario, lane: Lane, harm: Harm): Promise<boolean> {
  const { device } = lane
  if (!lane.isWhole) await requireWhole(device, lane.running, 'a start')
  lane.isWhole = false
  const watch = { harm, trace: device.trace }
  if (killedBefore === undefined) {
    lane.running.order({ kind: 'roll', mode: device.mode, watch })
  } else {
    await requireHarm(device, lane.running, killedBefore)
    lane.running = device.start(watch)
  }
  const isHarmed = await meets(device, lane.running, harm)
  if (!isHarmed) {
    lane.isWhole = true
    return false
  }
  lane.running = device.start()
  await requireWhole(device, lane.running, titleOf(harm))
  lane.isWhole = true
  return true
}

/** Whether the process meets its harm, and ends by it; a disk that refuses ends nothing, so then it is ended here. */
async function meets(device: CrashDevice, running: DeviceProcess, harm: Harm): Promise<boolean> {
  const outcome = await running.next()
  if (outcome.kind === 'ended' && outcome.signal === 'SIGKILL' && harm.kind === 'kill') return true
  requireNoFaults(device.faultsOf(outcome), running, titleOf(harm))
  if (harm.kind === 'kill' || outcome.kind !== 'settled' || !outcome.harmed) return false
  running.end()
  await running.next()
  return true
}

async function requireHarm(device: CrashDevice, running: DeviceProcess, harm: Harm): Promise<void> {
  running.order({ kind: 'roll', mode: device.mode, watch: { harm, trace: device.trace } })
  if (!(await meets(device, running, harm))) throw new Error(`it was not ${titleOf(harm)}`)
}

async function requireWhole(device: CrashDevice, running: DeviceProcess, after: string): Promise<void> {
  requireNoFaults(device.faultsOf(await running.next()), running, after)
}

function requireNoFaults(faults: readonly string[], running: DeviceProcess, after: string): void {
  if (faults.length > 0) throw new Error(`after ${after}: ${faults.join('; ')}\n${running.story}`)
}

function titleOf({ kind, side, at }: Harm): string {
  return `${kind === 'kill' ? 'killed' : kind} ${side} ${at.name} #${at.nth}`
}

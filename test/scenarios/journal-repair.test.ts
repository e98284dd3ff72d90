import { readFile, readdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DeviceAgent, functionIssuer } from 'leafkeeper'
import { beforeAll, describe, expect, it } from 'vitest'
import { keyIdOf } from '../../src/hsm/object-name.ts'
import { compile, leafkeeper } from '../support/command.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createWorld, hubThumbprint, next, rollPhase, type World } from '../support/world.ts'

beforeAll(compile, 120_000)

/** Changes a byte of the record of this event, or of the state that the journal begins with. */
async function damage(stateFolder: string, where: 'rollRequested' | 'first record'): Promise<void> {
  const path = join(stateFolder, 'journal')
  const bytes = await readFile(path)
  const at = where === 'first record' ? 50 : bytes.indexOf(`"kind":"${where}"`)
  expect(at).toBeGreaterThan(0)
  // Others follow: no crash leaves a journal like this.
  expect(bytes.indexOf('\n', at)).toBeLessThan(bytes.length - 1)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  await writeFile(path, bytes)
}

/** Does what the error of an agent that cannot start says. */
async function repairAsTold(world: World, name: string, stateFolder: string): Promise<string> {
  const error: unknown = await DeviceAgent.start(world.agentOptions(name, { stateFolder })).then(
    () => undefined,
    (thrown: unknown) => thrown,
  )
  expect(error).toMatchObject({ code: 'JOURNAL_DAMAGED' })
  const [, command = ''] = /Run: leafkeeper ([^.]+)\. /.exec(String(error)) ?? []
  expect(command).toBe(`journal repair ${stateFolder}`)
  const { exitCode, stdout, stderr } = await leafkeeper(command.split(' '))
  expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: '' })
  expect(await readdir(stateFolder)).toContain('journal.damaged-1')
  return stdout
}

describe('a journal that is damaged in the middle of a roll, and repaired as the agent says', () => {
  it('while the issuer takes its time: the old generation goes on, the key of the forgotten roll goes', async () => {
    const name = 'device-requested'
    const world = await createWorld()
    const stateFolder = await temporaryFolder()
    let isSlow = false
    let askedAgain: () => void = () => undefined
    const resumed = new Promise<void>((resolve) => (askedAgain = resolve))
    const issuer = functionIssuer('slow at times', {
      submit: async (request) => {
        if (isSlow) return { kind: 'pending', ticket: 'ticket-1', retryAfterMs: 10 }
        const chain = await world.issue(request)
        world.enroll(name, world.issued.at(-1), world.issued.at(-2))
        return chain
      },
      resume: (ticket) => {
        askedAgain()
        return Promise.resolve({ kind: 'pending', ticket, retryAfterMs: 60_000 })
      },
    })
    const agent = await world.startAgent(name, { stateFolder, issuer })
    await agent.connected()
    isSlow = true
    const rolling = expect(agent.roll()).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
    await resumed
    await agent.stop()
    await rolling
    expect(world.hsm.objects(keyIdOf(name, 2))).toHaveLength(2)
    await damage(stateFolder, 'rollRequested')

    expect(await repairAsTold(world, name, stateFolder)).toMatch(/active generation {2}1, thumbprint/)
    isSlow = false
    const again = await DeviceAgent.start(world.agentOptions(name, { stateFolder, issuer }))
    try {
      const retired = next(again, 'retired')
      await again.connected()
      expect(again.status()).toMatchObject({ active: { generation: 1 }, roll: 'idle' })
      await retired
      expect(again.status().generations).toEqual([1])
      // No number is used twice.
      expect((await again.roll()).generation).toBe(3)
    } finally {
      await again.stop()
    }
    expect(world.hsm.objects(keyIdOf(name, 2))).toEqual([])
  })

  it.each([
    ['rollRequested', 'compares it with the token'],
    ['first record', 'there is no journal now'],
  ] as const)(
    'while the enrollment is being changed, at the %s: the generation that DPS has now',
    async (where, told) => {
      const name = `device-${where.replace(' ', '-')}`
      const world = await createWorld()
      const stateFolder = await temporaryFolder()
      const agent = await world.startAgent(name, { stateFolder })
      await rollPhase(agent, 'staged')
      world.enroll(name, world.leaf(0))
      agent.reprovision()
      await agent.connected()
      const rolling = expect(agent.roll()).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
      await next(agent, 'staged')
      await agent.stop()
      await rolling
      world.enroll(name, world.leaf(1))
      await damage(stateFolder, where)

      expect(await repairAsTold(world, name, stateFolder)).toContain(told)
      const again = await world.startAgent(name, { stateFolder })
      await next(again, 'transition', () => again.state.active === 2)
      await again.connected()
      expect(hubThumbprint(world.cloud, again)).toBe(again.status().active?.thumbprint)
      await again.send({ body: 'as the new generation' })
      expect(world.issued).toHaveLength(2)
    },
  )
})

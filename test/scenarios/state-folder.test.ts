import { spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { readdir } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { DeviceAgent, type LeafkeeperError } from 'leafkeeper'
import { describe, expect, it, onTestFinished } from 'vitest'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createEnrollingWorld, next, receivedBodies, rollPhase } from '../support/world.ts'

describe('a state folder', () => {
  it('belongs to one agent at a time, and the first one goes on undisturbed', async () => {
    const world = await createEnrollingWorld('device-one')
    const stateFolder = await temporaryFolder()
    const agent = await world.startAgent('device-one', { stateFolder })
    await agent.connected()
    await expect(DeviceAgent.start(world.agentOptions('device-one', { stateFolder }))).rejects.toMatchObject({
      code: 'STATE_FOLDER_IN_USE',
      message: expect.stringMatching(
        new RegExp(`${stateFolder} alone; it is held by the agent of device-one: process ${process.pid} on`),
      ) as unknown,
    })
    expect(agent.status().connection).toBe('connected')
    await agent.roll()
    await agent.stop()
    expect(await readdir(stateFolder)).toEqual(['journal'])
    const again = await world.startAgent('device-one', { stateFolder })
    await again.connected()
    expect(again.status().active?.generation).toBe(2)
  })

  it('is taken by one of two agents that start at the same moment', async () => {
    const world = await createEnrollingWorld('device-two')
    const stateFolder = await temporaryFolder()
    const start = (): Promise<DeviceAgent> =>
      DeviceAgent.start(world.agentOptions('device-two', { stateFolder }))
    const outcomes = await Promise.allSettled([start(), start(), start()])
    const agents = outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []))
    for (const agent of agents) onTestFinished(() => agent.stop())
    expect(agents).toHaveLength(1)
    await agents[0]?.connected()
    expect(agents[0]?.status().generations).toEqual([1])
  })

  it('of another device is refused', async () => {
    const world = await createEnrollingWorld('device-owner')
    const stateFolder = await temporaryFolder()
    const agent = await world.startAgent('device-owner', { stateFolder })
    await agent.stop()
    await expect(
      DeviceAgent.start(world.agentOptions('device-stranger', { stateFolder })),
    ).rejects.toMatchObject({
      code: 'JOURNAL_OTHER_DEVICE',
      message: expect.stringContaining('device-stranger, found that of device-owner') as unknown,
    })
    // Nothing of it was touched, and its owner still goes on.
    const again = await world.startAgent('device-owner', { stateFolder })
    await again.connected()
  })
})

/** A disk of 64 KiB. Needs root. */
const disk = mkdtempSync(join(tmpdir(), 'leafkeeper-disk-'))
const hasDisk = mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs')
if (hasDisk) spawnSync('umount', [disk])

function mount(...options: string[]): boolean {
  return spawnSync('mount', [...options, disk]).status === 0
}

/** Its folder for one test, and what fills it. */
function smallDisk(): { folder: string; fill: () => void; free: () => void } {
  expect(mount('-t', 'tmpfs', '-o', 'size=64k', 'tmpfs')).toBe(true)
  onTestFinished(() => void spawnSync('umount', ['--lazy', disk]))
  const filler = join(disk, 'filler')
  return {
    folder: join(disk, 'state'),
    fill: () => {
      expect(() => {
        for (;;) appendFileSync(filler, Buffer.alloc(4096))
      }).toThrow('ENOSPC')
    },
    free: () => rmSync(filler),
  }
}

describe.skipIf(!hasDisk)('a disk that is full', () => {
  it('stops a roll before it begins, and keeps the connection; the roll goes on when there is room', async () => {
    const world = await createEnrollingWorld('device-full')
    const { folder, fill, free } = smallDisk()
    const agent = await world.startAgent('device-full', { stateFolder: folder })
    await agent.connected()
    fill()
    // The last block of the journal may have room for some records more.
    let error: LeafkeeperError | undefined
    agent.on('problem', ({ error: problem, during }) => {
      if (during === 'journal') error = problem
    })
    while (error === undefined) {
      const registered = next(agent, 'registered')
      agent.reprovision()
      await registered
    }
    expect(error).toMatchObject({ code: 'JOURNAL_UNWRITABLE', reason: 'ENOSPC' })
    const rolled = agent.roll()
    await rollPhase(agent, 'generating')
    expect(agent.status().generations).toEqual([1])
    expect(world.issued).toHaveLength(1)

    const lost = next(agent, 'disconnected')
    await world.cloud.pauseListening()
    await lost
    await world.cloud.resumeListening()
    await agent.connected()
    await agent.send({ body: 'while the disk is full' })
    expect(receivedBodies(world.cloud, 'device-full')).toContain('while the disk is full')
    expect(world.issued).toHaveLength(1)

    free()
    expect((await rolled).generation).toBe(2)
    await agent.stop()
    const again = await world.startAgent('device-full', { stateFolder: folder })
    await again.connected()
    expect(again.status().active?.generation).toBe(2)
  })

  it('does not keep a device from connecting after a restart', async () => {
    const world = await createEnrollingWorld('device-boot')
    const { folder, fill, free } = smallDisk()
    const first = await world.startAgent('device-boot', { stateFolder: folder })
    await first.connected()
    await first.stop()
    fill()
    const agent = await world.startAgent('device-boot', { stateFolder: folder })
    await agent.connected()
    await agent.send({ body: 'started on a full disk' })
    const rolled = agent.roll()
    await rollPhase(agent, 'generating')
    expect(world.issued).toHaveLength(1)
    free()
    await rolled
  })
})

describe.skipIf(!hasDisk)('a disk that is read-only', () => {
  it('lets a device connect, and roll when it can be written again, but only one of two agents', async () => {
    const world = await createEnrollingWorld('device-ro')
    const { folder } = smallDisk()
    const first = await world.startAgent('device-ro', { stateFolder: folder })
    await first.connected()
    await first.stop()
    expect(mount('-o', 'remount,ro')).toBe(true)
    const agent = await world.startAgent('device-ro', { stateFolder: folder })
    await agent.connected()
    const rolled = agent.roll()
    await rollPhase(agent, 'generating')
    expect(world.issued).toHaveLength(1)
    expect(mount('-o', 'remount,rw')).toBe(true)
    expect((await rolled).generation).toBe(2)
    // The lock was taken with the first record.
    await expect(
      DeviceAgent.start(world.agentOptions('device-ro', { stateFolder: folder })),
    ).rejects.toMatchObject({ code: 'STATE_FOLDER_IN_USE' })
  })
})

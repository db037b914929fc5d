// What is wrong inside of a file, before it has been said which file it is.

export class Damage extends Error {
  override readonly name = 'Damage';
}

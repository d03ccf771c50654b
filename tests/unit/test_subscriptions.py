"""Claims of the book of who is owed which events."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from jobd.subscriptions import Subscriptions


class SubscriptionsTests(TestCase):
    """Events are promised and told."""

    def test_submitter(self) -> None:
        """Who was promised the event with the submission gets it, first of all, and once."""
        book = Subscriptions()
        book.expect(1)
        for conn in (2, 1, 2, 3):
            book.listen(conn, 17, submitter=1)
        self.assertEqual([1, 2, 3], book.tell(17, 1)[0])
        self.assertEqual([1], book.tell(17, 1)[0])

    def test_nobody(self) -> None:
        """A job without a submitter, or with one that is gone, is told to who listens."""
        book = Subscriptions()
        book.listen(2, 17, submitter=0)
        self.assertEqual([2], book.tell(17, 0)[0])
        self.assertEqual([], book.tell(18, 5)[0])

    def test_close(self) -> None:
        """A connection that leaves can be closed once it is owed nothing more, not before and not twice."""
        book = Subscriptions()
        book.expect(1)
        book.expect(1)
        book.expect(2)
        self.assertFalse(book.leave(1))
        self.assertEqual([], book.pay([1, 2]))
        self.assertEqual([1], book.pay([1]))
        self.assertTrue(book.leave(2))
        self.assertTrue(book.leave(3))

    def test_forget(self) -> None:
        """One that is gone is owed nothing and gets nothing."""
        book = Subscriptions()
        book.expect(1)
        book.listen(1, 17, submitter=0)
        book.leave(1)
        book.forget(1)
        book.forget(9)
        self.assertEqual(([], False), (book.tell(17, 1)[0], 1 in book))

"""What is kept between runs: people, settings, words, stories, ratings, jobs."""
